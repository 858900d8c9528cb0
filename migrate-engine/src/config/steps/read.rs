//! Reads the text of a configuration: what it says, what is wrong with it, and what is worth a note. No I/O.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde_json::Value;

use super::edit::{kind, no_object, no_section};
use super::error::Flaw;
use super::field::{self, Field};
use super::note::Note;
use super::section::Section;
use super::settings::{Destination, Login, Platforms, Steps, TargetPlatform};
use super::span::{self, Break, Member, Object, line_of};
use crate::model::{Secret, Selection};

/// Why a text gives no configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is no JSON.
    Broken(Break),
    /// Values that cannot be meant.
    Flawed(Vec<Flaw>),
}

/// Reads a whole text. Every flaw is found, not the first one.
pub(super) fn parse(text: &str) -> Result<(Steps, Vec<Note>), Unread> {
    span::check(text).map_err(Unread::Broken)?;
    let Some(root) = Object::at(text, 0) else {
        return Err(Unread::Flawed(vec![no_object()]));
    };
    let mut reader = Reader::new(text, &root);
    let steps = reader.steps();
    match reader.flaws.is_empty() {
        true => Ok((steps, reader.notes)),
        false => Err(Unread::Flawed(reader.flaws)),
    }
}

struct Reader<'a> {
    text: &'a str,
    root: &'a Object,
    flaws: Vec<Flaw>,
    notes: Vec<Note>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, root: &'a Object) -> Self {
        let mut reader = Self {
            text,
            root,
            flaws: Vec::new(),
            notes: Vec::new(),
        };
        reader.survey(root, "", |key| {
            Section::ALL.iter().any(|section| section.key() == key)
        });
        reader
    }

    fn steps(&mut self) -> Steps {
        let source = self.section(Section::Source);
        let source = self.login(
            source.as_ref(),
            [&field::ESXI_HOST, &field::ESXI_USER, &field::ESXI_PASS],
        );
        let destination = self.destination();
        Steps {
            platforms: self.platforms(&destination),
            source,
            selected_vms: self.selected_vms(),
            destination,
            storage: self.or_default(&field::STORAGE, "local-lvm"),
            export_root: self.or_default(&field::EXPORT_ROOT, "./exports").into(),
            ovftool: self.or_default(&field::OVFTOOL, "ovftool").into(),
        }
    }

    fn platforms(&mut self, destination: &Destination) -> Platforms {
        let section = self.section(Section::Platforms);
        let source = self.platform(section.as_ref(), &field::PLATFORM_SOURCE);
        let target = self.platform(section.as_ref(), &field::PLATFORM_TARGET);
        // Files of before there was this section say it by what they fill in.
        let only_kvm = destination.kvm.host.is_some() && destination.proxmox.host.is_none();
        let likely = if only_kvm {
            TargetPlatform::Kvm
        } else {
            TargetPlatform::default()
        };
        Platforms {
            source: source.unwrap_or_else(|| {
                let source = Platforms::default().source;
                self.default_taken(&field::PLATFORM_SOURCE, source.name());
                source
            }),
            target: target.unwrap_or_else(|| {
                self.default_taken(&field::PLATFORM_TARGET, likely.name());
                likely
            }),
        }
    }

    fn destination(&mut self) -> Destination {
        let section = self.section(Section::Destination);
        let section = section.as_ref();
        let proxmox = [&field::PROXMOX_HOST, &field::PROXMOX_USER, &field::PROXMOX_PASS];
        let kvm = [&field::KVM_HOST, &field::KVM_USER, &field::KVM_PASS];
        let pool = self.filled(section, &field::KVM_STORAGE_POOL);
        let (proxmox, kvm) = (self.login(section, proxmox), self.login(section, kvm));
        let standard = Destination::default().kvm_storage_pool;
        if pool.is_none() && kvm.host.is_some() {
            self.default_taken(&field::KVM_STORAGE_POOL, &standard);
        }
        Destination {
            proxmox,
            kvm,
            kvm_storage_pool: pool.unwrap_or(standard),
        }
    }

    fn login(&mut self, section: Option<&Object>, [host, user, password]: [&Field; 3]) -> Login {
        Login {
            host: self.host(section, host),
            user: self.filled(section, user),
            password: self.filled(section, password).map(Secret::new),
        }
    }

    fn host(&mut self, section: Option<&Object>, field: &Field) -> Option<String> {
        let host = self.filled(section, field)?;
        if host.contains(|c: char| c.is_whitespace() || c.is_control()) {
            self.flaw(
                section,
                field,
                format!("has white space in it: write {}", field.write),
            );
        }
        Some(host)
    }

    fn platform<P: FromStr>(&mut self, section: Option<&Object>, field: &Field) -> Option<P> {
        let name = self.filled(section, field)?;
        let platform = name.parse().ok();
        if platform.is_none() {
            self.flaw(section, field, format!("is no platform: write {}", field.write));
        }
        platform
    }

    fn selected_vms(&mut self) -> Selection {
        let (field, mut serials) = (&field::SELECTED_VMS, BTreeSet::new());
        let items = match self.value(Some(self.root), field) {
            None | Some(Value::Null) => return Selection::default(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.wrong_type(Some(self.root), field);
                return Selection::default();
            }
        };
        for item in items {
            match serial(&item) {
                Some(serial) if serials.insert(serial) => {}
                Some(serial) => self.notes.push(Note::SelectedTwice { serial }),
                None => {
                    let why = format!("has an entry that is no number from 1 up: write {}", field.write);
                    self.flaw(Some(self.root), field, why);
                    break;
                }
            }
        }
        serials.into_iter().collect()
    }

    fn or_default(&mut self, field: &Field, standard: &str) -> String {
        self.filled(Some(self.root), field).unwrap_or_else(|| {
            self.default_taken(field, standard);
            standard.to_owned()
        })
    }

    /// A section that is an object. `None` where it is not there, or not filled in.
    fn section(&mut self, section: Section) -> Option<Object> {
        let place = &self.root.get(section.key())?.value;
        if &self.text[place.clone()] == "null" {
            return None;
        }
        let object = Object::at(self.text, place.start);
        match &object {
            Some(object) => self.survey(object, section.key(), |key| {
                Field::of(section).any(|field| field.key == key)
            }),
            None => self.flaws.push(no_section(self.text, section, place)),
        }
        object
    }

    /// A text that is there and not empty.
    fn filled(&mut self, object: Option<&Object>, field: &Field) -> Option<String> {
        match self.value(object, field)? {
            Value::String(text) => Some(text).filter(|text| !text.is_empty()),
            Value::Null => None,
            _ => {
                self.wrong_type(object, field);
                None
            }
        }
    }

    fn value(&mut self, object: Option<&Object>, field: &Field) -> Option<Value> {
        let member = member(object, field)?;
        let value = serde_json::from_str(&self.text[member.value.clone()]);
        if value.is_err() {
            // A number without end, or half of a surrogate pair: JSON by its form, and no value.
            self.flaw(object, field, format!("cannot be read: write {}", field.write));
        }
        value.ok()
    }

    fn wrong_type(&mut self, object: Option<&Object>, field: &Field) {
        let found = member(object, field).map_or("null", |member| kind(&self.text[member.value.clone()]));
        self.flaw(object, field, format!("is {found}: write {}", field.write));
    }

    fn flaw(&mut self, object: Option<&Object>, field: &Field, why: String) {
        self.flaws.push(Flaw {
            key: field.path(),
            line: member(object, field).map(|member| line_of(self.text, member.name.start)),
            why,
        });
    }

    fn default_taken(&mut self, field: &Field, value: &str) {
        self.notes.push(Note::DefaultTaken {
            key: field.path(),
            value: value.to_owned(),
        });
    }

    /// Notes what is not known, and what is there more than once.
    fn survey(&mut self, object: &Object, section: &str, is_known: impl Fn(&str) -> bool) {
        let mut seen = BTreeSet::new();
        for Member { key, .. } in &object.members {
            let path = match section {
                "" => key.clone(),
                section => format!("{section}.{key}"),
            };
            let home = field::ALL
                .iter()
                .find(|field| field.key == key && !is_ambiguous(field));
            match (seen.insert(key), is_known(key), home) {
                (false, _, _) => self.notes.push(Note::Repeated { key: path }),
                (true, true, _) => {}
                (true, false, Some(field)) => self.notes.push(Note::Misplaced {
                    key: path,
                    section: field.section,
                }),
                (true, false, None) => self.notes.push(Note::UnknownKey { key: path }),
            }
        }
    }
}

/// `source` and `target` are common words, and say nothing of where they belong.
fn is_ambiguous(field: &Field) -> bool {
    field.section == Section::Platforms
}

fn member<'a>(object: Option<&'a Object>, field: &Field) -> Option<&'a Member> {
    let key = match field.key {
        "" => field.section.key(),
        key => key,
    };
    object?.get(key)
}

/// A serial number: a number, or as some programs write it, its digits as a text.
fn serial(item: &Value) -> Option<usize> {
    let number = match item {
        Value::Number(number) => usize::try_from(number.as_u64()?).ok()?,
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
        _ => return None,
    };
    (number > 0).then_some(number)
}
