//! The agent: does what the host asks for over TCP, a thread for each connection.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use whole_system_tests::virtual_machine::protocol::{
    AGENT_PORT, Ending, Kind, Reply, Request, read_frame, write_frame,
};

/// The search path of everything in the guest.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What every program in the guest gets.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", PATH),
    ("HOME", "/root"),
    ("LC_ALL", "C"),
    ("RUST_BACKTRACE", "1"),
];

/// What outlives a connection.
struct Agent {
    started: Mutex<HashMap<u32, Child>>,
    /// Takes the wish to end the guest.
    end: mpsc::Sender<Ending>,
}

/// Serves until the host wants the guest to end.
pub(crate) fn serve() -> Result<Ending> {
    let listener = TcpListener::bind(("0.0.0.0", AGENT_PORT)).context("cannot listen")?;
    let (end, ended) = mpsc::channel();
    let agent = Arc::new(Agent {
        started: Mutex::default(),
        end,
    });
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let agent = Arc::clone(&agent);
            thread::spawn(move || {
                if let Err(error) = agent.attend(&connection) {
                    eprintln!("appliance-init: a connection broke: {error:#}");
                }
            });
        }
    });
    ended.recv().context("nobody can ask for the end any more")
}

impl Agent {
    fn attend(&self, mut connection: &TcpStream) -> Result<()> {
        connection.set_nodelay(true)?;
        let (Kind::Request, request) = read_frame(&mut connection)? else {
            bail!("the first frame is no request");
        };
        let (Kind::Input, input) = read_frame(&mut connection)? else {
            bail!("the second frame is no input");
        };
        let request: Request = serde_json::from_slice(&request)?;
        let wish = match request {
            Request::End { how } => Some(how),
            _ => None,
        };
        let reply = self
            .answer(request, input, connection)
            .unwrap_or_else(|error| Reply::Failed {
                why: format!("{error:#}"),
            });
        write_frame(&mut connection, Kind::Reply, &serde_json::to_vec(&reply)?)?;
        connection.shutdown(Shutdown::Write)?;
        if let Some(how) = wish {
            // The host hangs up when it has the reply; only then may the network go away.
            let _ = connection.read(&mut [0]);
            self.end.send(how)?;
        }
        Ok(())
    }

    fn answer(&self, request: Request, input: Vec<u8>, mut connection: &TcpStream) -> Result<Reply> {
        match request {
            Request::Identify => Ok(Reply::Boot {
                id: fs::read_to_string("/proc/sys/kernel/random/boot_id")?
                    .trim()
                    .to_owned(),
            }),
            Request::Run { argv, env } => run(command(&argv, env)?, input, connection),
            Request::Start { argv, env, log } => self.start(command(&argv, env)?, &log),
            Request::Look { pid } => self.look(pid),
            Request::Signal { pid, signal } => signal_process(pid, signal),
            Request::Read { path } => {
                let content = fs::read(&path).with_context(|| format!("cannot read {path}"))?;
                write_frame(&mut connection, Kind::Output, &content)?;
                Ok(Reply::Done)
            }
            Request::Write { path, mode } => write(Path::new(&path), mode, &input),
            Request::End { .. } => Ok(Reply::Done),
        }
    }

    fn start(&self, mut command: Command, log: &str) -> Result<Reply> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot open {log}"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let pid = child.id();
        self.started.lock().insert(pid, child);
        Ok(Reply::Started { pid })
    }

    fn look(&self, pid: u32) -> Result<Reply> {
        let mut started = self.started.lock();
        let child = started
            .get_mut(&pid)
            .context("no program of that id was started")?;
        Ok(child.try_wait()?.map_or(Reply::Running, exited))
    }
}

fn command(argv: &[String], env: Vec<(String, String)>) -> Result<Command> {
    let [program, arguments @ ..] = argv else {
        bail!("an empty command");
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(ENVIRONMENT)
        .envs(env)
        .current_dir("/");
    Ok(command)
}

fn exited(status: ExitStatus) -> Reply {
    Reply::Exited {
        code: status.code(),
        signal: status.signal(),
    }
}

fn run(mut command: Command, input: Vec<u8>, connection: &TcpStream) -> Result<Reply> {
    let mut child = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    kill_at_hang_up(&child, connection.try_clone()?);
    let writer = Mutex::new(connection);
    thread::scope(|scope| {
        scope.spawn(|| {
            // A program that does not read all of it closes the pipe.
            stdin.map(|mut stdin| stdin.write_all(&input))
        });
        scope.spawn(|| stdout.map(|stdout| pass_on(stdout, Kind::Output, &writer)));
        scope.spawn(|| stderr.map(|stderr| pass_on(stderr, Kind::Complaint, &writer)));
    });
    Ok(exited(child.wait()?))
}

/// The host sends nothing after its input: what is read then is its end. What the program started ends with it.
fn kill_at_hang_up(child: &Child, mut connection: TcpStream) {
    let pid = Pid::from_child(child);
    thread::spawn(move || {
        let _ = connection.read(&mut [0]);
        // After its end the program is a zombie or gone, and ids are not used again for a long time.
        let _ = kill_process_group(pid, Signal::KILL);
    });
}

fn pass_on(mut from: impl Read, kind: Kind, to: &Mutex<&TcpStream>) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        write_frame(&mut *to.lock(), kind, &buffer[..length])?;
    }
}

fn signal_process(pid: u32, signal: i32) -> Result<Reply> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("no process id")?;
    let signal = Signal::from_named_raw(signal).context("no signal has that number")?;
    kill_process(pid, signal)?;
    Ok(Reply::Done)
}

fn write(path: &Path, mode: u32, content: &[u8]) -> Result<Reply> {
    let shown = path.display();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder of {shown}"))?;
    }
    fs::write(path, content).with_context(|| format!("cannot write {shown}"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(Reply::Done)
}
