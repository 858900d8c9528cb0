//! Layers of the configuration, and every problem told at once.

use super::*;

fn layers(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Layers {
    Layers {
        file: Some(("/test.toml".into(), file.to_owned())),
        environment: environment
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect(),
        flags: flags.iter().map(|(k, v)| (*k, (*v).to_owned())).collect(),
    }
}

fn problems(layers: &Layers) -> Vec<String> {
    let error = Config::from_layers(layers).unwrap_err();
    error.problems.iter().map(ToString::to_string).collect()
}

/// The file that is installed as `/etc/volumed/volumed.toml`.
const DOCUMENTED: &str = include_str!("../../../docs/volumed.toml");

/// Keys that have no default, or one of the machine: the file shows an example.
const EXAMPLES: [&str; 12] = [
    "listen",
    "local.vm_id",
    "cloudstack.url",
    "cloudstack.ca_file",
    "cloudstack.credentials_file",
    "cloudstack.zone",
    "cloudstack.disk_offering",
    "cloudstack.project",
    "cloudstack.max_data_disks",
    "tls.certificate",
    "tls.key",
    "tls.client_ca",
];

/// The documented file with the lines of these keys (all are commented out) in force, and the keys that it has lines for.
fn in_force(wanted: impl Fn(&str) -> bool) -> (String, Vec<String>) {
    let (mut section, mut keys, mut text) = (String::new(), Vec::new(), String::new());
    for line in DOCUMENTED.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        }
        let shown = line
            .strip_prefix("# ")
            .and_then(|rest| Some((rest, rest.split_once(" = ")?.0)))
            .filter(|(_, name)| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        let key = shown.map(|(_, name)| format!("{section}{name}"));
        match shown {
            Some((rest, _)) if key.as_deref().is_some_and(&wanted) => text.push_str(rest),
            _ => text.push_str(line),
        }
        text.push('\n');
        keys.extend(key);
    }
    (text, keys)
}

#[test]
fn the_documented_file_has_every_key_and_changes_nothing() {
    let defaults = Config::from_layers(&Layers::default()).unwrap();
    assert_eq!(
        Config::from_layers(&layers(DOCUMENTED, &[], &[])).unwrap(),
        defaults
    );
    let (text, mut shown) = in_force(|key| !EXAMPLES.contains(&key));
    assert_eq!(Config::from_layers(&layers(&text, &[], &[])).unwrap(), defaults);
    let mut known: Vec<_> = keys::every_key().map(str::to_owned).collect();
    shown.sort();
    known.sort();
    assert_eq!(shown, known, "the file's keys, and the parser's");
}

#[test]
fn the_examples_of_the_documented_file_are_taken() {
    let (text, _) = in_force(|_| true);
    let config = Config::from_layers(&layers(&text, &[], &[("provider", "cloudstack")])).unwrap();
    let cloudstack = config.cloudstack.unwrap();
    assert_eq!(cloudstack.zone, "zone1");
    assert!(config.listen.is_some() && cloudstack.credentials_file.is_some());
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "database = '/file'\n[log]\nlevel = 'error'\nformat = 'json'";
    let environment = [
        ("VOLUMED_DATABASE", "/environment"),
        ("VOLUMED_LOG_LEVEL", "warn"),
        ("PATH", "/bin"),
    ];
    let config = Config::from_layers(&layers(file, &environment, &[("database", "/flag")])).unwrap();
    assert_eq!(config.database, Path::new("/flag"));
    assert_eq!(config.log.level, LogLevel::Warn);
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn every_problem_is_reported_at_once_with_key_value_and_what_is_allowed() {
    let file = "database = 'relative'\nlisten = '0.0.0.0:8090'\ncolour = 1\n[operations]\nconcurrency = 0";
    let environment = [("VOLUMED_LOG_FORMAT", "xml"), ("VOLUMED_DATABSE", "/typo")];
    let flags = [("http.body_limit_bytes", "lots")];
    let found = problems(&layers(file, &environment, &flags)).join("\n");
    for expected in [
        "`database` is \"relative\" in /test.toml; allowed: an absolute path",
        "`listen` is \"0.0.0.0:8090\" in /test.toml; allowed: a loopback address",
        "TLS and tokens",
        "unknown key `colour` in /test.toml; known are: database, socket",
        "`operations.concurrency` is 0 in /test.toml; allowed: a whole number from 1 to 256",
        "`log.format` is \"xml\" in the environment (VOLUMED_LOG_FORMAT); allowed: \"text\", \"json\"",
        "unknown key `VOLUMED_DATABSE` in the environment",
        "`http.body_limit_bytes` is \"lots\" in the command line (--http-body-limit-bytes)",
    ] {
        assert!(found.contains(expected), "{expected}\nis not in\n{found}");
    }
    assert_eq!(found.lines().count(), 7);
}

#[test]
fn the_socket_may_be_off_only_where_tcp_is_on() {
    assert_eq!(problems(&layers("socket = ''", &[], &[])).len(), 1);
    let both = "socket = ''\nlisten = '[::1]:8090'";
    assert_eq!(Config::from_layers(&layers(both, &[], &[])).unwrap().socket, None);
}

#[test]
fn other_than_loopback_needs_a_certificate_and_its_key() {
    let with = |tls: &str| format!("listen = '0.0.0.0:8090'\n[tls]\n{tls}");
    let whole = with(
        "certificate = '/c.pem'\nkey = '/k.pem'\nclient_ca = '/a.pem'\nclient_certificates = 'required'",
    );
    let config = Config::from_layers(&layers(&whole, &[], &[])).unwrap();
    assert_eq!(config.listen, Some("0.0.0.0:8090".parse().unwrap()));
    let tls = config.http.tls.unwrap();
    assert_eq!(tls.clients, serving::Clients::Required("/a.pem".into()));
    let found = problems(&layers(&with("certificate = '/c.pem'"), &[], &[])).join("\n");
    assert!(found.contains("`tls.key` is missing"), "{found}");
}

#[test]
fn a_number_in_the_file_is_a_number() {
    let found = problems(&layers("shutdown_grace_seconds = '20'", &[], &[]));
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn what_is_no_toml_is_said_so() {
    assert!(problems(&layers("database = ", &[], &[]))[0].contains("is not TOML"));
}

#[test]
fn the_variables_of_the_client_are_not_taken_for_typos() {
    let environment = [("VOLUMED_URL", "http://127.0.0.1:1"), ("VOLUMED_CONFIG", "/x")];
    assert!(Config::from_layers(&layers("", &environment, &[])).is_ok());
}

#[test]
fn a_section_that_is_no_table_is_refused() {
    assert!(problems(&layers("log = 3", &[], &[]))[0].contains("unknown key `log`"));
}

#[test]
fn the_vm_has_one_name_for_ever() {
    assert_eq!(keys::vm_id_of(Some("abc\n")), keys::vm_id_of(Some("abc")));
    assert_ne!(keys::vm_id_of(Some("abc")), keys::vm_id_of(Some("abd")));
    assert_eq!(keys::vm_id_of(None), "local");
}

const CLOUDSTACK: &str = "provider = 'cloudstack'\n[cloudstack]\nurl = 'https://c.example/client/api'\nzone = 'z'\ndisk_offering = 'd'";

#[test]
fn what_cloudstack_needs_is_missing_only_where_it_is_the_provider() {
    let found = problems(&layers("provider = 'cloudstack'", &[], &[])).join("\n");
    for key in ["cloudstack.url", "cloudstack.zone", "cloudstack.disk_offering"] {
        assert!(found.contains(&format!("`{key}` is missing")), "{found}");
    }
    assert_eq!(found.lines().count(), 3);
    let unused = "[cloudstack]\nzone = 'z'";
    assert_eq!(
        Config::from_layers(&layers(unused, &[], &[])).unwrap().cloudstack,
        None
    );
    let used = Config::from_layers(&layers(CLOUDSTACK, &[], &[]))
        .unwrap()
        .cloudstack;
    assert_eq!(
        used,
        Some(CloudStack::new("https://c.example/client/api", "z", "d"))
    );
}

#[test]
fn what_is_wrong_with_cloudstack_is_told_even_where_it_is_not_used() {
    let file = "[cloudstack]\nidentity = 'luck'\npoll_interval_ms = 5\nvm_id = 'ABC'\nmax_data_disks = 0\nca_file = 'x'";
    let found = problems(&layers(file, &[], &[])).join("\n");
    for expected in [
        "\"serial\", \"appearance\"",
        "from 20 to 60000",
        "a UUID in lower case",
        "from 1 to 256",
        "an absolute path",
    ] {
        assert!(found.contains(expected), "{expected}\nis not in\n{found}");
    }
    assert_eq!(found.lines().count(), 5);
}

#[test]
fn http_without_tls_takes_the_loopback_or_a_word() {
    let with = |url: &str, more: &str| {
        let file = CLOUDSTACK.replace("https://c.example/client/api", url) + more;
        Config::from_layers(&layers(&file, &[], &[])).is_ok()
    };
    for (url, allowed) in [
        ("http://127.0.0.1:8080/client/api", true),
        ("http://[::1]:8080/client/api", true),
        ("http://localhost/client/api", true),
        ("http://localhost.example/client/api", false),
        ("http://10.0.0.1:8080/client/api", false),
        ("ftp://127.0.0.1/", false),
        ("c.example/client/api", false),
        ("https://user:word@c.example/client/api", false),
        ("https://c.example/client/api?response=json", false),
    ] {
        assert_eq!(with(url, ""), allowed, "{url}");
    }
    assert!(with("http://10.0.0.1:8080/client/api", "\nallow_http = true"));
}

#[test]
fn loop_serials_are_off_unless_switched_on() {
    let on = [("VOLUMED_DEVICES_LOOP_SERIALS", "true")];
    assert!(
        !Config::from_layers(&Layers::default())
            .unwrap()
            .devices
            .loop_serials
    );
    assert!(
        Config::from_layers(&layers("", &on, &[]))
            .unwrap()
            .devices
            .loop_serials
    );
    assert!(!problems(&layers("[devices]\nloop_serials = 'true'", &[], &[])).is_empty());
}
