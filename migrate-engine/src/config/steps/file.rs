//! The configuration on disk: read whole, changed section by section.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;
use serde_json::Value;

use super::access;
use super::change::Change;
use super::edit::{Content, edited};
use super::error::{Flaw, StepsError};
use super::lock::Lock;
use super::note::Note;
use super::read::{Unread, parse};
use super::replace::{Placed, Reading, replace, sweep};
use super::section::Section;
use super::settings::Steps;
use super::span;
use crate::config::alarms::folder_of;

/// How often a file that others change meanwhile is read again.
const TRIES: usize = 100;
/// What a file that is not there is taken for.
const NOTHING: &str = "{}\n";

/// The file, by its name. Where that is a link, the file that it leads to is meant, and the link stays.
///
/// All of this blocks on the file system. Values of this type hold nothing open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepsFile {
    path: PathBuf,
}

/// A configuration that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What it says.
    pub steps: Steps,
    /// What an operator should know of it.
    pub notes: Vec<Note>,
    /// What steps still have to fill in before a migration between its platforms can run; empty where nothing.
    pub unfinished: Vec<Flaw>,
}

/// Reads an existing `config.json`. The file is not changed, and can be used as it is.
///
/// # Errors
/// Where there is none, or it is no configuration: all keys that are wrong are named.
pub fn import(path: &Path) -> Result<Imported, StepsError> {
    StepsFile::at(path)?.read()
}

impl StepsFile {
    /// The file `path`, which need not be there. A path that does not begin with `/` counts from where the process is now.
    ///
    /// # Errors
    /// Where the path is empty, or the process is nowhere.
    pub fn at(path: &Path) -> Result<Self, StepsError> {
        let path = std::path::absolute(path).map_err(StepsError::io("find", path))?;
        Ok(Self { path })
    }

    /// The file's name, whole.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// [`StepsError::Missing`] where there is no file; otherwise why it cannot be read, with all keys that are wrong.
    pub fn read(&self) -> Result<Imported, StepsError> {
        let path = self.path.clone();
        let Some(reading) = Reading::of(&self.target()?)? else {
            return Err(StepsError::Missing { path });
        };
        let (steps, mut notes) = parse(self.text(&reading)?).map_err(|unread| self.unread(unread))?;
        notes.extend(access::note(&reading.metadata));
        Ok(Imported {
            unfinished: steps.unfinished(),
            steps,
            notes,
        })
    }

    /// Reads all of it but one section, which counts as not filled in: for the step that is about to write it, so that it
    /// can mend it.
    ///
    /// # Errors
    /// As [`StepsFile::read`], but for what is wrong with that section.
    pub fn read_besides(&self, section: Section) -> Result<Steps, StepsError> {
        let path = self.path.clone();
        let Some(reading) = Reading::of(&self.target()?)? else {
            return Err(StepsError::Missing { path });
        };
        let text = self.text(&reading)?;
        span::check(text).map_err(|it| self.unread(Unread::Broken(it)))?;
        let without = edited(text, section, &Content::Whole(Value::Null))
            .map_err(|flaw| self.unread(Unread::Flawed(vec![flaw])))?;
        let (steps, _) = parse(&without).map_err(|unread| self.unread(unread))?;
        Ok(steps)
    }

    /// Writes the outcome of one step: the keys that [`Change`] names, and no other byte. The file is made where there is
    /// none, for its owner only. Repeated, it changes nothing. After a crash the file is the old one or the new one.
    ///
    /// # Errors
    /// Where the file is broken, the new values cannot be meant, or it cannot be written. The file is as it was then, but
    /// for a failure after the new one has its name, which says that it may not survive a power cut.
    pub fn apply(&self, change: &Change) -> Result<Vec<Note>, StepsError> {
        self.change(change.section(), &change.content())
    }

    /// Replaces the value of one section, and no other byte. Otherwise like [`StepsFile::apply`]; keys of the section that
    /// are not in `value` are gone, so that this is for who has read them.
    ///
    /// # Errors
    /// As [`StepsFile::apply`].
    pub fn write_section(&self, section: Section, value: Value) -> Result<Vec<Note>, StepsError> {
        self.change(section, &Content::Whole(value))
    }

    fn change(&self, section: Section, content: &Content) -> Result<Vec<Note>, StepsError> {
        let target = self.target()?;
        let _lock = Lock::take(&target, fs::metadata(&target).ok().as_ref())?;
        sweep(&target);
        for _ in 0..TRIES {
            let old = Reading::of(&target)?;
            let text = match &old {
                Some(old) => self.text(old)?,
                None => NOTHING,
            };
            let new = self.changed(text, section, content)?;
            let is_same = old.is_some() && new == text;
            if is_same || self.place(&target, old.as_ref(), &new)? == Placed::Yes {
                return Ok(self.notes(old.as_ref()));
            }
        }
        Err(StepsError::KeepsChanging {
            path: self.path.clone(),
        })
    }

    /// The new text. Its own section has to be right; what is wrong with others is not this step's matter.
    fn changed(&self, text: &str, section: Section, content: &Content) -> Result<String, StepsError> {
        let broken = |text| span::check(text).map_err(|it| self.unread(Unread::Broken(it)));
        broken(text)?;
        let flawed = |flaws| self.unread(Unread::Flawed(flaws));
        let new = edited(text, section, content).map_err(|flaw| flawed(vec![flaw]))?;
        match parse(&new) {
            Err(Unread::Flawed(mut flaws)) => {
                let inside = format!("{section}.");
                flaws.retain(|flaw| flaw.key == section.key() || flaw.key.starts_with(&inside));
                // The lines are those of a text that is not there.
                flaws.iter_mut().for_each(|flaw| flaw.line = None);
                match flaws.is_empty() {
                    true => Ok(new),
                    false => Err(flawed(flaws)),
                }
            }
            Err(unread) => Err(self.unread(unread)),
            Ok(_) => Ok(new),
        }
    }

    fn place(&self, target: &Path, old: Option<&Reading>, text: &str) -> Result<Placed, StepsError> {
        // A file that is closed to writing is closed, though its folder would let us put another one in its place.
        match rustix::fs::access(target, Access::WRITE_OK) {
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Err(StepsError::ReadOnly {
                path: self.path.clone(),
            }),
            // One that is not there, or is gone by now, is not closed.
            _ => replace(target, old, text),
        }
    }

    fn notes(&self, old: Option<&Reading>) -> Vec<Note> {
        let note = old.and_then(|old| access::note(&old.metadata));
        if let Some(note) = &note {
            tracing::warn!(path = %self.path.display(), %note, "configuration");
        }
        note.into_iter().collect()
    }

    fn text<'a>(&self, reading: &'a Reading) -> Result<&'a str, StepsError> {
        std::str::from_utf8(&reading.bytes).map_err(|error| {
            let before = &reading.bytes[..error.valid_up_to()];
            let line_start = before
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            self.unread(Unread::Broken(span::Break {
                line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
                column: 1 + before.len() - line_start,
                why: "a byte that is no UTF-8; save the file as UTF-8".to_owned(),
            }))
        })
    }

    fn unread(&self, unread: Unread) -> StepsError {
        let path = self.path.clone();
        match unread {
            Unread::Broken(span::Break { line, column, why }) => StepsError::Broken {
                path,
                line,
                column,
                why,
            },
            Unread::Flawed(flaws) => StepsError::Flawed { path, flaws },
        }
    }

    /// The file itself, behind links.
    fn target(&self) -> Result<PathBuf, StepsError> {
        let cannot = |source| StepsError::io("find", &self.path)(source);
        match fs::canonicalize(&self.path) {
            Ok(target) => return Ok(target),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot(error)),
        }
        if fs::symlink_metadata(&self.path).is_ok_and(|it| it.is_symlink()) {
            return Err(StepsError::DanglingLink {
                path: self.path.clone(),
            });
        }
        let folder = folder_of(&self.path);
        let name = self
            .path
            .file_name()
            .ok_or_else(|| cannot(io::ErrorKind::InvalidFilename.into()))?;
        let folder = fs::canonicalize(folder).map_err(StepsError::io("find the folder", folder))?;
        Ok(folder.join(name))
    }
}
