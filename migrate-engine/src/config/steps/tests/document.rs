//! What the page for operators shows is what is read and written.

use std::path::Path;

use crate::config::steps::read::parse;
use crate::config::steps::{Section, TargetPlatform, field};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/four-steps.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_example_is_a_whole_configuration() {
    let page = page();
    let example = page
        .split_once("```json\n")
        .unwrap()
        .1
        .split_once("```")
        .unwrap()
        .0;
    let (steps, notes) = parse(example).unwrap();
    assert_eq!(notes, []);
    assert_eq!(steps.unfinished(), []);
    assert_eq!(steps.platforms.target, TargetPlatform::Proxmox);
    assert_eq!(steps.selected_vms.to_string(), "1,3,5-7");
    assert!(steps.kvm().is_ok() && steps.proxmox().is_ok() && steps.source().is_ok());
}

#[test]
fn every_key_is_explained() {
    let page = page();
    let sections = Section::ALL.iter().map(|section| section.key());
    for key in sections
        .chain(field::ALL.iter().map(|field| field.key))
        .filter(|key| !key.is_empty())
    {
        assert!(page.contains(&format!("`{key}`")), "{key}");
    }
}
