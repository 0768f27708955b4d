//! Exec plugins that wait for a person.

#![cfg(target_os = "linux")]

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

/// How long something that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a kubeconfig whose user has the exec plugin `login`, a shell script. Nobody listens at the server.
struct Sandbox(tempfile::TempDir);

impl Sandbox {
    fn new(interactive: &str, script: &str) -> Self {
        let sandbox = Self(tempfile::tempdir().expect("a folder"));
        let login = sandbox.path("login");
        fs::write(&login, format!("#!/bin/sh\ncd {}\n{script}\n", sandbox.0.path().display()))
            .expect("a script");
        fs::set_permissions(&login, fs::Permissions::from_mode(0o700)).expect("an executable script");
        let kubeconfig = format!(
            "current-context: c\n\
             contexts: [{{name: c, context: {{cluster: c, user: me}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:1'}}}}]\n\
             users: [{{name: me, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, \
             interactiveMode: {interactive}, command: ./login}}}}}}]\n"
        );
        fs::write(sandbox.path("config"), kubeconfig).expect("a kubeconfig");
        sandbox
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A terminal, with what its programs write.
struct Terminal {
    keyboard: File,
    line: File,
    screen: mpsc::Receiver<u8>,
    shown: String,
}

impl Terminal {
    fn open() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a terminal for us");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let line = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty())
            .expect("its other end");
        let keyboard = File::from(master);
        let output = keyboard.try_clone().expect("a second handle");
        let (send, screen) = mpsc::channel();
        // Ends with the terminal.
        std::thread::spawn(move || {
            BufReader::new(output).bytes().map_while(Result::ok).try_for_each(|byte| send.send(byte))
        });
        Self { keyboard, line: File::from(line), screen, shown: String::new() }
    }

    /// Starts a shell script in this terminal, as a session of its own.
    fn run(&self, script: &str) -> Child {
        let line = || Stdio::from(self.line.try_clone().expect("another handle"));
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", "sh", "-c", script]).stdin(line()).stdout(line()).stderr(line());
        command.spawn().expect("setsid, of util-linux")
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("typing");
    }

    fn wait_for(&mut self, text: &str) {
        while !self.shown.contains(text) {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(byte) => self.shown.push(byte.into()),
                Err(_) => panic!("no {text:?} in {:?}", self.shown),
            }
        }
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.line).expect("settings").local_modes.contains(LocalModes::ECHO)
    }
}

fn crdctl(sandbox: &Path, arguments: &str) -> String {
    let program = env!("CARGO_BIN_EXE_crdctl");
    format!("cd {}; {program} --kubeconfig config {arguments}", sandbox.display())
}

#[test]
fn a_plugin_that_is_ended_gives_the_terminal_back() {
    // It neither reads the password nor turns the echo on again.
    let script = "stty -echo < /dev/tty; echo $PPID > pid.new; mv pid.new pid; echo Password: > /dev/tty; exec sleep 600";
    for command in ["watch pods", "crd check"] {
        for signal in ["typed", "TERM", "HUP"] {
            let sandbox = Sandbox::new("Always", script);
            let mut terminal = Terminal::open();
            assert!(terminal.echoes());
            let crdctl = crdctl(sandbox.0.path(), command);
            let mut shell = terminal
                .run(&format!("trap : INT; {crdctl}; echo ended; read line; echo \"the shell got <$line>\""));
            terminal.wait_for("Password:");
            assert!(!terminal.echoes());
            terminal.type_in("hunter2\n");
            if signal == "typed" {
                terminal.type_in("\x03");
            } else {
                let pid = fs::read_to_string(sandbox.path("pid")).expect("crdctl's id");
                let killed = Command::new("kill").args([&format!("-{signal}"), pid.trim()]).status();
                assert!(killed.expect("kill runs").success());
            }
            terminal.wait_for("ended");
            assert!(terminal.echoes(), "{command}, {signal}");
            terminal.type_in("next\n");
            terminal.wait_for("the shell got <next>");
            assert!(!terminal.shown.contains("hunter2"), "{}", terminal.shown);
            assert!(shell.wait().expect("the shell ends").success());
        }
    }
}

#[test]
fn a_plugin_may_ask_for_a_password() {
    let answer = r#"{"apiVersion":"client.authentication.k8s.io/v1","status":{"token":"t"}}"#;
    let script = format!(
        "printf 'Password: ' > /dev/tty; stty -echo < /dev/tty; echo ready > /dev/tty; read -r password; stty echo < /dev/tty\n\
         echo \"$password\" > password; echo '{answer}'"
    );
    let sandbox = Sandbox::new("IfAvailable", &script);
    let mut terminal = Terminal::open();
    let crdctl = crdctl(sandbox.0.path(), "crd check");
    let mut shell = terminal.run(&format!("{crdctl}; read line; echo \"the shell got <$line>\""));
    terminal.wait_for("ready");
    terminal.type_in("hunter2\nnext\n");
    terminal.wait_for("the shell got <next>");
    assert!(terminal.shown.contains("127.0.0.1:1 cannot be reached"), "{}", terminal.shown);
    assert!(!terminal.shown.contains("hunter2"), "{}", terminal.shown);
    assert_eq!(fs::read_to_string(sandbox.path("password")).expect("a password"), "hunter2\n");
    assert!(shell.wait().expect("the shell ends").success());
}

#[test]
fn the_servers_time_starts_when_the_plugin_has_ended() {
    let answer = r#"{"apiVersion":"client.authentication.k8s.io/v1","status":{"token":"t"}}"#;
    let script = format!("while ! test -e go; do sleep 0.01; done; echo '{answer}'");
    for command in ["watch pods", "crd check", "crd install"] {
        let sandbox = Sandbox::new("Never", &script);
        let mut crdctl = Command::new(env!("CARGO_BIN_EXE_crdctl"));
        crdctl.args(["--kubeconfig", "config", "--request-timeout", "1s"]).args(command.split(' '));
        crdctl.current_dir(sandbox.0.path()).stderr(Stdio::piped());
        let mut child = crdctl.spawn().expect("crdctl starts");
        let mut lines =
            BufReader::new(child.stderr.take().expect("its stderr")).lines().map_while(Result::ok);
        // After more time than the server has.
        let login = sandbox.path("login").display().to_string();
        let notice = lines.next().expect("a notice");
        assert_eq!(notice, format!("waiting for exec plugin {login} (user me)"));
        fs::write(sandbox.path("go"), "").expect("the plugin's sign");
        let error = lines.next().expect("an error");
        assert!(error.contains("https://127.0.0.1:1 cannot be reached"), "{error}");
        assert_eq!(child.wait().expect("crdctl ends").code(), Some(1));
    }
}

#[test]
fn a_plugin_that_fails_is_named_instead_of_the_server() {
    let sandbox = Sandbox::new("Never", "exit 3");
    let command = crdctl(sandbox.0.path(), "crd check");
    let output = Command::new("sh").args(["-c", &command]).output().expect("crdctl runs");
    let error = String::from_utf8_lossy(&output.stderr);
    let login = sandbox.path("login").display().to_string();
    assert!(error.contains(&format!("exec plugin {login} failed with exit status: 3")), "{error}");
    assert!(error.contains("nothing was sent to https://127.0.0.1:1"), "{error}");
    assert!(!error.contains("cannot be reached") && !error.contains("did not answer"), "{error}");
}
