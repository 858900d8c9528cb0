//! Every parser of foreign bytes by its name, for the fuzzer and for the replay of its corpus: none may panic, and what each
//! takes must be as its own function here says.

use crate::cloud::fuzz as cloud;
use crate::config::{Config, Layers};
use crate::device::fuzz as device;

/// Its name, and what it does with the fuzzer's bytes.
type Target = (&'static str, fn(&[u8]));

/// What is fuzzed, by the name of its target and of the folder of its seeds.
pub const TARGETS: &[Target] = &[
    ("cloudstack", cloud::answer),
    ("mounts", device::mounts),
    ("serial", device::serial),
    ("sysfs", device::sysfs),
    ("volumed_toml", volumed_toml),
];

/// The target of this name.
///
/// # Panics
/// Where there is none.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a known target");
    target(bytes);
}

/// The file of the daemon's settings, and the same bytes in its environment. A problem is told with words.
fn volumed_toml(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let layers = Layers {
        file: Some(("/etc/volumed.toml".into(), text.clone())),
        environment: vec![("VOLUMED_DATABASE".to_owned(), text)],
        flags: Vec::new(),
    };
    if let Err(error) = Config::from_layers(&layers) {
        assert!(!error.to_string().is_empty());
    }
}
