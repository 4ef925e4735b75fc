//! The ways over ssh by the real ssh to a real server, which gives what it gets to a shell: names that mean something
//! there run nothing, and the dump arrives.

use crate::common::sshd::Server;
use crate::common::{Absent, lab, or_skip, scratch};
use crate::hostile::{NAMES, STAMP, name_host, quoted, stop_clock};
use crate::jail::{ENCRYPTED, Jail, find};
use crate::text;
use std::fs;
use std::path::{Path, PathBuf};

/// A server whose commands begin in the directory `remote`, and its keys beside it.
struct Host {
    keys: PathBuf,
    user: String,
    server: Server,
}

impl Host {
    fn start(name: &str) -> Result<Host, Absent> {
        let keys = scratch(name);
        let user = lab("sshd.sh", ["keys", keys.to_str().unwrap()])?;
        lab("program.sh", ["sshd"])?;
        fs::create_dir(keys.join("remote")).unwrap();
        let server = Server::start(&keys, u64::MAX);
        Ok(Host { keys, user, server })
    }

    fn remote(&self) -> PathBuf {
        self.keys.join("remote")
    }

    /// Of the next links on, SHELL runs what ssh sends; sshd reads its configuration for every link.
    fn take_shell(&self, shell: &str) {
        let config = self.keys.join("sshd_config");
        let text = fs::read_to_string(&config).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("ForceCommand "));
        let force = format!(
            "ForceCommand cd '{}' && exec {shell} -c \"$SSH_ORIGINAL_COMMAND\"",
            self.remote().display()
        );
        let text: Vec<&str> = lines.chain([force.as_str()]).collect();
        fs::write(config, text.join("\n") + "\n").unwrap();
    }

    /// Gives the jail the real ssh and the way to this host by the name `server`.
    fn introduce(&self, jail: &Jail, ssh: &Path) {
        fs::remove_file(jail.path("/bin/ssh")).unwrap();
        jail.install_with_libraries(ssh, "/bin/ssh");
        jail.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
        jail.copy(&self.keys.join("key"), "/root/.ssh/kdump_id_rsa");
        jail.copy(&self.keys.join("known_hosts"), "/root/.ssh/known_hosts");
        let way = format!(
            "Host server\nHostName 127.0.0.1\nPort {}\nIdentityFile /root/.ssh/kdump_id_rsa\n",
            self.server.port
        );
        jail.write("/etc/ssh/ssh_config", &way);
    }

    /// The files of one directory on the server hold what the collector wrote, and there is nothing else.
    fn assert_arrived(&self, directory: &Path, files: &[&str], what: &str) {
        let mut found: Vec<String> = fs::read_dir(directory)
            .unwrap_or_else(|error| panic!("{}: {error}: {what}", directory.display()))
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, files, "{what}");
        for file in files.iter().filter(|file| file.ends_with(".age")) {
            assert_eq!(fs::read_to_string(directory.join(file)).unwrap().trim(), ENCRYPTED, "{what}");
        }
        let top: Vec<_> =
            fs::read_dir(self.remote()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(top, ["in"], "a command ran on the server: {what}");
        fs::remove_dir_all(self.remote().join("in")).unwrap();
    }
}

/// Every name for one pair of shells at least; each shell at either end has some of each kind.
fn each_name(host: &str, test: impl Fn(&Host, &Jail, &str)) {
    let Some((ssh, host)) = or_skip(find("ssh").and_then(|ssh| Ok((ssh, Host::start(host)?)))) else {
        return;
    };
    let shells = ["dash", "bash", "busybox sh"].map(|shell| (shell, shell.split(' ').next().unwrap()));
    let shells: Vec<_> = shells.iter().filter(|(_, program)| find(program).is_ok()).collect();
    Jail::each(|jail| {
        stop_clock(jail);
        host.introduce(jail, &ssh);
        for (number, name) in NAMES.iter().enumerate() {
            if number % 3 == jail.shell as usize {
                host.take_shell(shells[number / 3 % shells.len()].0);
                test(&host, jail, name);
                jail.assert_no_plaintext();
                assert!(!jail.path("/pwned").exists(), "{name:?}");
            }
        }
    });
    host.server.wait();
}

#[test]
fn debian_sends_the_dump_to_a_real_server_whatever_its_names_are() {
    each_name("ssh-debian", |host, jail, name| {
        let settings = format!(
            "SSH={}@server\nHOSTTAG=hostname\nSSH_KDUMP_RETRY=1\nKDUMP_COREDIR={}\n",
            host.user,
            quoted(&format!("in/{name}"))
        );
        jail.write("/etc/default/kdump-tools", &settings);
        name_host(jail, name);
        let said = text(&jail.run("/usr/lib/vmcore-encrypt/debian-dump"));
        let directory = host.remote().join("in").join(name).join(format!("{name}-{STAMP}"));
        let files = [format!("dmesg.{STAMP}.age"), format!("dump.{STAMP}.age")];
        host.assert_arrived(&directory, &files.each_ref().map(String::as_str), &format!("{name:?}: {said}"));
    });
}

/// A name that begins with `-` where nothing stands before it: the directory is relative to the home.
#[test]
fn debian_sends_the_dump_into_a_directory_that_looks_like_an_option() {
    let Some((ssh, host)) = or_skip(find("ssh").and_then(|ssh| Ok((ssh, Host::start("ssh-option")?)))) else {
        return;
    };
    host.take_shell("sh");
    Jail::each(|jail| {
        stop_clock(jail);
        host.introduce(jail, &ssh);
        name_host(jail, "host1");
        let settings = format!(
            "SSH={}@server\nHOSTTAG=hostname\nSSH_KDUMP_RETRY=1\nKDUMP_COREDIR='-rf $(touch pwned)'\n",
            host.user
        );
        jail.write("/etc/default/kdump-tools", &settings);
        let said = text(&jail.run("/usr/lib/vmcore-encrypt/debian-dump"));
        fs::rename(host.remote().join("-rf $(touch pwned)"), host.remote().join("in")).expect(&said);
        let files = [format!("dmesg.{STAMP}.age"), format!("dump.{STAMP}.age")];
        let directory = host.remote().join(format!("in/host1-{STAMP}"));
        host.assert_arrived(&directory, &files.each_ref().map(String::as_str), &said);
    });
    host.server.wait();
}

#[test]
fn suse_sends_the_dump_to_a_real_server_whatever_its_names_are() {
    each_name("ssh-suse", |host, jail, name| {
        let one_line = name.replace('\n', " ");
        name_host(jail, &one_line);
        let url = format!("SSH://{}@server{}/in/{name}", host.user, host.remote().display());
        jail.write("/etc/kdump.conf", &format!("KDUMP_PROTO=ssh\nKDUMP_SAVEDIR={}\n", quoted(&url)));
        let ran = jail.run("/usr/lib/vmcore-encrypt/suse-transfer");
        let dated = format!("{}-2026-01-02-03-04", one_line.trim_matches(' '));
        let directory = host.remote().join("in").join(name).join(dated);
        let files = ["README.txt", "dmesg.age", "vmcore.age"];
        host.assert_arrived(&directory, &files, &format!("{name:?}: {}", text(&ran)));
        assert!(ran.status.success());
    });
}
