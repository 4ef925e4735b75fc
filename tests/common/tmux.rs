//! A real terminal: tmux, in which a test types and reads the screen.

use super::{has, programs_in_path, run, text};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// One terminal with a shell in it; it ends when this is dropped.
pub(crate) struct Tmux {
    socket: PathBuf,
}

/// A path for sh.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

impl Tmux {
    /// A terminal of so many columns that runs `command` of sh in `home`, both programs in its path.
    pub(crate) fn new(home: &Path, columns: u16, command: &str) -> Option<Tmux> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !has("tmux") {
            return None;
        }
        let name = format!("tmux-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let tmux = Tmux { socket: std::env::temp_dir().join(name) };
        let shell = format!(
            "cd {}; export PATH={} HOME={} PS1='$ ' LC_ALL=C.UTF-8; {command}",
            quoted(home.to_str().unwrap()),
            quoted(&programs_in_path()),
            quoted(home.to_str().unwrap())
        );
        let mut start = tmux.command();
        start.args(["-f", "/dev/null", "new-session", "-d", "-y", "50", "-x", &columns.to_string(), &shell]);
        let output = run(&mut start);
        assert!(output.status.success(), "{}", text(&output.stderr));
        Some(tmux)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).env("LC_ALL", "C.UTF-8");
        command
    }

    /// Presses keys, as `send-keys` names them.
    pub(crate) fn press(&self, keys: &[&str]) {
        assert!(run(self.command().args(["send-keys", "-t", "0"]).args(keys)).status.success());
    }

    /// Types text as it is.
    pub(crate) fn write(&self, text: &str) {
        assert!(run(self.command().args(["send-keys", "-t", "0", "-l", text])).status.success());
    }

    /// Types a line.
    pub(crate) fn enter(&self, line: &str) {
        self.write(line);
        self.press(&["Enter"]);
    }

    /// All that the terminal has shown, with what has scrolled away.
    pub(crate) fn screen(&self) -> String {
        let output = run(self.command().args(["capture-pane", "-p", "-S", "-", "-t", "0"]));
        text(&output.stdout).trim_end().to_owned()
    }

    /// Waits until the screen is as it should be; the screen.
    pub(crate) fn wait(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "waited too long for {what}:\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Changes the width.
    pub(crate) fn resize(&self, columns: u16) {
        let width = columns.to_string();
        assert!(run(self.command().args(["resize-window", "-t", "0", "-x", &width])).status.success());
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command().arg("kill-server").output();
        let _ = std::fs::remove_file(&self.socket);
    }
}
