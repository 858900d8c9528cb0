//! Which machines of the list are meant.

use super::request::Refused;
use crate::model::{MachineSpec, Selection, SelectionError};

/// How machines are named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// By path, id or name.
    Named(Vec<String>),
    /// By their serial numbers: `1,3,5-7`.
    Numbers(String),
    /// All of them.
    All,
}

/// What is meant.
#[derive(Debug, Default)]
pub(super) struct Chosen<'a> {
    /// With their serial numbers, in the order of the list, each once.
    pub(super) machines: Vec<(usize, &'a MachineSpec)>,
    /// What names no machine, or several.
    pub(super) refused: Vec<Refused>,
    /// What may be a slip.
    pub(super) remarks: Vec<String>,
}

pub(super) fn choose<'a>(pick: &Pick, list: &'a [MachineSpec]) -> Result<Chosen<'a>, SelectionError> {
    match pick {
        Pick::All => numbers("all", list),
        Pick::Numbers(text) => numbers(text, list),
        Pick::Named(names) => Ok(named(names, list)),
    }
}

fn numbers<'a>(text: &str, list: &'a [MachineSpec]) -> Result<Chosen<'a>, SelectionError> {
    let parsed = Selection::parse(text, list.len())?;
    let serials = parsed.selection.serials();
    Ok(Chosen {
        machines: serials.zip(parsed.selection.pick(list)?).collect(),
        remarks: parsed
            .repeated
            .iter()
            .map(|number| format!("{number} is selected more than once: it is taken once"))
            .collect(),
        ..Chosen::default()
    })
}

fn named<'a>(names: &[String], list: &'a [MachineSpec]) -> Chosen<'a> {
    let mut chosen = Chosen::default();
    for name in names {
        match find(name, list) {
            Ok(index) => chosen.machines.push((index + 1, &list[index])),
            Err(refused) => chosen.refused.push(refused),
        }
    }
    chosen.machines.sort_by_key(|(serial, _)| *serial);
    chosen.machines.dedup_by_key(|(serial, _)| *serial);
    chosen
}

/// By path or id, else by name, as the service finds one.
fn find(wanted: &str, list: &[MachineSpec]) -> Result<usize, Refused> {
    let by_key = |machine: &MachineSpec| machine.path == wanted || machine.id == wanted;
    let keyed: Vec<_> = positions(list, by_key);
    let found = match keyed.is_empty() {
        true => positions(list, |machine| machine.name == wanted),
        false => keyed,
    };
    match *found.as_slice() {
        [one] => Ok(one),
        [] => Err(Refused::unknown(wanted)),
        _ => {
            let places = found
                .iter()
                .map(|index| format!("{} ({})", list[*index].path, list[*index].id));
            Err(Refused::ambiguous(wanted, &places.collect::<Vec<_>>()))
        }
    }
}

fn positions(list: &[MachineSpec], is_meant: impl Fn(&MachineSpec) -> bool) -> Vec<usize> {
    let indices = 0..list.len();
    indices.filter(|index| is_meant(&list[*index])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Vec<MachineSpec> {
        let machine = |id: &str, name: &str, path: &str| MachineSpec {
            id: id.to_owned(),
            name: name.to_owned(),
            path: path.to_owned(),
            ..MachineSpec::default()
        };
        vec![
            machine("vm-1", "db", "/DC/vm/db"),
            machine("vm-2", "twin", "/DC/vm/left/twin"),
            machine("vm-3", "twin", "/DC/vm/right/twin"),
            machine("vm-4", "vm-1", "/DC/vm/vm-1"),
        ]
    }

    fn serials(chosen: &Chosen<'_>) -> Vec<usize> {
        chosen.machines.iter().map(|(serial, _)| *serial).collect()
    }

    #[test]
    fn numbers_are_those_of_the_list() {
        let list = list();
        let chosen = choose(&Pick::Numbers("4,1-2,2".to_owned()), &list).unwrap();
        assert_eq!(serials(&chosen), [1, 2, 4]);
        assert_eq!(chosen.machines[2].1.id, "vm-4");
        assert!(chosen.remarks[0].starts_with("2 is selected"), "{chosen:?}");
        assert_eq!(serials(&choose(&Pick::All, &list).unwrap()), [1, 2, 3, 4]);
        let error = choose(&Pick::Numbers("5".to_owned()), &list).unwrap_err();
        assert!(error.to_string().contains("the list ends with 4"), "{error}");
        assert_eq!(
            choose(&Pick::All, &[]).unwrap_err(),
            SelectionError::NothingListed
        );
    }

    #[test]
    fn a_machine_is_taken_once_however_it_is_named_and_others_are_refused() {
        let list = list();
        let names = [
            "/DC/vm/right/twin",
            "db",
            "/DC/vm/db",
            "twin",
            "nobody\u{1b}[2J",
            "vm-1",
        ];
        let chosen = choose(&Pick::Named(names.map(str::to_owned).to_vec()), &list).unwrap();
        // `vm-1` is the id of one and the name of another: ids come first.
        assert_eq!(serials(&chosen), [1, 3]);
        let codes: Vec<_> = chosen.refused.iter().map(|it| it.code.as_str()).collect();
        assert_eq!(codes, ["vm_ambiguous", "vm_not_found"]);
        assert!(
            chosen.refused[0]
                .detail
                .contains("/DC/vm/left/twin (vm-2), /DC/vm/right/twin (vm-3)")
        );
        assert!(chosen.refused[1].detail.contains("nobody?[2J"));
    }
}
