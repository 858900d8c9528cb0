//! The same server as a program of its own: it says where it is, serves, and ends at a signal.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use whole_system_tests::cloudstack::{Caller, Credentials};

/// A program that does not outlive its test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake-cloudstack"));
    command.args(args);
    command
}

#[tokio::test]
async fn the_program_serves_until_it_is_told_to_end() {
    let vm = uuid::Uuid::new_v4().to_string();
    let child = program(&["--listen", "127.0.0.1:0", "--vm", &vm])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut program = Program(child);
    let mut lines = BufReader::new(program.0.stdout.take().unwrap()).lines();
    let mut told = |name: &str| {
        let line = lines.next().unwrap().unwrap();
        line.strip_prefix(&format!("{name}="))
            .unwrap_or_else(|| panic!("{line}"))
            .to_owned()
    };
    let url = told("CLOUDSTACK_ENDPOINT");
    let credentials = Credentials {
        api_key: told("CLOUDSTACK_KEY"),
        secret_key: told("CLOUDSTACK_SECRET"),
    };
    let user = Caller::new(url, credentials);
    let vms = user.call("listVirtualMachines", &[]).await.unwrap();
    assert_eq!(vms["virtualmachine"][0]["id"], vm.as_str());
    kill_process(Pid::from_child(&program.0), Signal::TERM).unwrap();
    assert!(program.0.wait().unwrap().success());
}

#[test]
fn what_the_program_does_not_understand_is_said() {
    for (args, reason) in [
        (&["--listen"][..], "--listen needs a value"),
        (&["--volume", "x"][..], "there is no option --volume"),
        (&["--hypervisor", "xen"][..], "there is no hypervisor xen"),
    ] {
        let output = program(args).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(reason) && said.contains("usage:"), "{said}");
    }
}
