//! What qemu-img says about an image, asked within limits: hostile images have cost others gigabytes and hours.
//!
//! Images reach qemu as a JSON tree of drivers (`json:{…}`), never as a bare name: so no path can be taken for a
//! protocol or an option, qemu never guesses a format, and nothing opens a backing file that we did not name.

use serde::Deserialize;
use serde_json::{Value, json};

use super::file::{FileKind, SourceFile};
use super::format::Format;
use super::{Options, SourceError};
use crate::process::{Command, Limits, Output, ProcessError, QEMU_IMG};

/// qemu's node for the bytes of a file, or of a window of it.
pub(super) fn bytes_node(file: &SourceFile) -> Value {
    let driver = match file.kind {
        FileKind::Regular => "file",
        FileKind::BlockDevice => "host_device",
    };
    let bytes = json!({ "driver": driver, "filename": file.path });
    match file.window {
        None => bytes,
        // The driver wants whole sectors; an archive pads its members to those with zeros.
        Some(window) => {
            let size = window.len.next_multiple_of(512);
            json!({ "driver": "raw", "offset": window.offset, "size": size, "file": bytes })
        }
    }
}

/// qemu's node for an image over `bytes`, on `backing` where it has one.
pub(super) fn image_node(format: Format, bytes: Value, backing: Option<Value>) -> Value {
    let mut node = json!({ "driver": format.driver(), "file": bytes });
    match format {
        Format::Qcow2 | Format::Vmdk => node["backing"] = backing.unwrap_or(Value::Null),
        // Else qemu takes the size of images of some makers from their geometry and cuts the end off.
        Format::Vhd => node["force_size_calc"] = json!("current_size"),
        Format::Raw | Format::Vhdx => {}
    }
    node
}

/// qemu's node for a disk that reads as zeros.
pub(super) fn blank_node(size: u64) -> Value {
    json!({ "driver": "null-co", "size": size, "read-zeroes": true })
}

/// The name under which qemu's tools open a node.
pub(super) fn file_name(node: &Value) -> String {
    format!("json:{node}")
}

/// What `qemu-img info` knows of an image.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    #[serde(rename = "virtual-size")]
    pub(super) virtual_size: u64,
    pub(super) format: String,
    #[serde(rename = "backing-filename")]
    pub(super) backing: Option<String>,
    #[serde(rename = "format-specific")]
    specific: Option<Specific>,
}

#[derive(Debug, Deserialize)]
struct Specific {
    data: Option<Value>,
}

impl Info {
    /// The external data file, where the image has one.
    pub(super) fn data_file(&self) -> Option<&str> {
        self.data()?.get("data-file")?.as_str()
    }

    /// The names of the extents, as qemu resolved them.
    pub(super) fn extents(&self) -> Vec<&str> {
        let extents = self
            .data()
            .and_then(|data| data.get("extents"))
            .and_then(Value::as_array);
        extents
            .into_iter()
            .flatten()
            .filter_map(|extent| extent.get("filename")?.as_str())
            .collect()
    }

    fn data(&self) -> Option<&Value> {
        self.specific.as_ref()?.data.as_ref()
    }
}

/// Opens the image in a child with little memory and little time, and asks for its size and parts.
pub(super) async fn info(
    node: &Value,
    format: Format,
    label: &str,
    options: &Options,
) -> Result<Info, SourceError> {
    let limits = &options.limits;
    let output = Command::new(QEMU_IMG)
        .args(["info", "--output=json"])
        .arg(file_name(node))
        .limits(Limits {
            address_space: Some(limits.inspect_memory),
            cpu_seconds: Some(limits.inspect_time.as_secs().max(1)),
        })
        .timeout(limits.inspect_time)
        .stdout_limit(16 << 20)
        .output()
        .await
        .map_err(|source| opening(source, format, label))?;
    serde_json::from_slice(&output.stdout).map_err(|source| SourceError::ToolAnswer {
        program: "qemu-img",
        image: label.to_owned(),
        source,
    })
}

fn opening(source: ProcessError, format: Format, label: &str) -> SourceError {
    let image = label.to_owned();
    match source {
        ProcessError::Failed { .. } => SourceError::Open {
            image,
            format,
            source,
        },
        other => SourceError::Tool { image, source: other },
    }
}

/// Checks the image's own tables. Formats without such a check, and mere leaks, pass.
pub(super) async fn check(
    node: &Value,
    format: Format,
    label: &str,
    options: &Options,
) -> Result<(), SourceError> {
    let limits = &options.limits;
    let output = Command::new(QEMU_IMG)
        .args(["check", "--output=json"])
        .arg(file_name(node))
        .limits(Limits {
            address_space: Some(limits.check_memory),
            cpu_seconds: Some(limits.check_time.as_secs().max(1)),
        })
        .timeout(limits.check_time)
        .stdout_limit(16 << 20)
        .output_of_any_status()
        .await
        .map_err(|source| SourceError::Tool {
            image: label.to_owned(),
            source,
        })?;
    match output.status.code() {
        Some(CHECK_GOOD | CHECK_LEAKS | CHECK_NOT_SUPPORTED) => Ok(()),
        Some(CHECK_CORRUPT) => Err(SourceError::corrupt(label, damage(&output))),
        _ => {
            let program = QEMU_IMG.program.to_owned();
            let failed = ProcessError::Failed {
                program,
                status: output.status,
                stderr: output.stderr,
            };
            Err(opening(failed, format, label))
        }
    }
}

const CHECK_GOOD: i32 = 0;
const CHECK_CORRUPT: i32 = 2;
const CHECK_LEAKS: i32 = 3;
const CHECK_NOT_SUPPORTED: i32 = 63;

/// The first words of a failed check, with the count of errors.
fn damage(output: &Output) -> String {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let count = report
        .get("corruptions")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let first = output
        .stderr
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no details given");
    format!("qemu-img check found {count} errors, such as: {}", first.trim())
}
