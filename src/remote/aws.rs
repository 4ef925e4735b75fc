//! Where S3 is and who reads there, found as other S3 tools find it: in the environment first, then in the profile
//! `AWS_PROFILE` (or `default`) of `~/.aws/config` and `~/.aws/credentials`. Who runs the program wrote these files. They
//! are read up to 1 MiB, and no message shows a value of theirs.
//!
//! A machine of the cloud can have rights of its own, for which the client asks its metadata service. Elsewhere nobody
//! answers there, so that is known within a second.

use super::Error;
use object_store::ClientConfigKey;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most bytes of a file.
const MAX_FILE: u64 = 1 << 20;
/// Where the cloud's machines ask. Source: Amazon EC2 User Guide, "Access instance metadata".
const METADATA: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);
const PATIENCE: Duration = Duration::from_secs(1);
/// Variables with rights that come before a profile, and after one, which the client uses itself. Source: AWS SDKs and
/// Tools Reference Guide, "Standardized credential providers".
const BEFORE: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"];
const AFTER: [&str; 3] =
    ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_METADATA_ENDPOINT"];
/// Keys of a profile whose rights another program must fetch.
const FETCHED: [&str; 5] =
    ["role_arn", "sso_session", "sso_start_url", "credential_process", "web_identity_token_file"];

/// A client of S3 with endpoint, region and rights.
///
/// # Errors
/// A profile cannot be used, there are no rights, or the server would be asked without TLS.
pub(super) fn builder() -> Result<AmazonS3Builder, Error> {
    let found = Found::in_environment(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
    if found.asks_machine && TcpStream::connect_timeout(&METADATA, PATIENCE).is_err() {
        return Err(Error::NoCredentials);
    }
    let options = found.options.into_iter();
    let builder =
        options.fold(AmazonS3Builder::from_env(), |builder, (key, value)| builder.with_config(key, value));
    let value = |key| builder.get_config_value(&key);
    if [Key::Region, Key::DefaultRegion].into_iter().filter_map(value).any(|region| !is_region(&region)) {
        return Err(Error::Region);
    }
    let sent = [
        ("AWS_ACCESS_KEY_ID", Key::AccessKeyId),
        ("AWS_SESSION_TOKEN", Key::Token),
        ("AWS_ENDPOINT_URL_S3", Key::S3Endpoint),
        ("AWS_ENDPOINT_URL", Key::Endpoint),
    ];
    if let Some((name, _)) =
        sent.into_iter().find(|(name, key)| !value(*key).is_none_or(|value| is_sent(name, &value)))
    {
        return Err(Error::Setting(name));
    }
    let endpoint = value(Key::S3Endpoint).or_else(|| value(Key::Endpoint));
    let is_plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let may_be_plain = value(Key::Client(ClientConfigKey::AllowHttp)).is_some_and(|value| value == "true");
    if is_plain && !may_be_plain { Err(Error::PlainHttp) } else { Ok(builder) }
}

/// Whether a value can be in a header, or is a URL.
fn is_sent(name: &str, value: &str) -> bool {
    let is_url = || reqwest::Url::parse(value).is_ok_and(|url| url.has_host());
    value.bytes().all(|byte| byte.is_ascii_graphic()) && (!name.contains("ENDPOINT") || is_url())
}

/// Whether a region can be in the name of a host, of which it becomes a part.
fn is_region(region: &str) -> bool {
    region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Host and port of the service for rights that `AWS_METADATA_ENDPOINT` names.
pub(super) fn machine() -> Option<String> {
    let url = reqwest::Url::parse(&std::env::var("AWS_METADATA_ENDPOINT").ok()?).ok()?;
    Some(url.authority().to_owned())
}

/// What there is beyond what the client itself takes from the environment.
#[derive(Debug, PartialEq)]
struct Found {
    options: Vec<(Key, String)>,
    /// Whether rights can only come from the machine.
    asks_machine: bool,
}

type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Found {
    fn in_environment(variable: Variables<'_>) -> Result<Found, Error> {
        let has = |names: &[&str]| names.iter().any(|name| variable(name).is_some());
        let is_true = |name: &str| variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let profile = Profile::read(variable)?;
        let mut options = Vec::new();
        let mut take = |key: Key, name: &str| {
            options.extend(profile.values.get(name).map(|value| (key, value.clone())));
        };
        if !has(&["AWS_REGION", "AWS_DEFAULT_REGION"]) {
            take(Key::Region, "region");
        }
        if !has(&["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"]) {
            take(Key::Endpoint, "endpoint_url");
        }
        if has(&BEFORE) || is_true("AWS_SKIP_SIGNATURE") {
            return Ok(Found { options, asks_machine: false });
        }
        take(Key::AccessKeyId, "aws_access_key_id");
        take(Key::SecretAccessKey, "aws_secret_access_key");
        take(Key::Token, "aws_session_token");
        if profile.values.contains_key("aws_access_key_id") || has(&AFTER) {
            return Ok(Found { options, asks_machine: false });
        }
        if let Some(how) = FETCHED.into_iter().find(|how| profile.values.contains_key(*how)) {
            return Err(Error::Profile(format!("it has no key of its own but {how}")));
        }
        if is_true("AWS_EC2_METADATA_DISABLED") {
            return Err(Error::NoCredentials);
        }
        Ok(Found { options, asks_machine: true })
    }
}

/// A profile: what both files have for it, those of `credentials` before those of `config`.
#[derive(Default)]
struct Profile {
    values: BTreeMap<String, String>,
}

impl Profile {
    fn read(variable: Variables<'_>) -> Result<Profile, Error> {
        let file = |name: &str, default: &str| {
            let home = || variable("HOME").map(|home| Path::new(&home).join(".aws").join(default));
            variable(name).map(PathBuf::from).or_else(home)
        };
        let asked = variable("AWS_PROFILE");
        let name = asked.as_deref().unwrap_or("default");
        let sections = [format!("profile {name}"), name.to_owned()];
        let files = [file("AWS_CONFIG_FILE", "config"), file("AWS_SHARED_CREDENTIALS_FILE", "credentials")];
        let (mut profile, mut is_there) = (Profile::default(), false);
        for path in files.iter().flatten() {
            let Some(text) =
                read(path).map_err(|error| Error::Profile(format!("{}: {error}", path.display())))?
            else {
                continue;
            };
            is_there |= profile.take(&text, &sections);
        }
        if asked.is_some() && !is_there {
            return Err(Error::Profile("neither ~/.aws/config nor ~/.aws/credentials has it".to_owned()));
        }
        Ok(profile)
    }

    /// Takes the values of these sections; whether one is there. An indented line belongs to the value before it, which
    /// is none that is asked for. Source: AWS SDKs and Tools Reference Guide, "Format of the config file".
    fn take(&mut self, text: &str, sections: &[String]) -> bool {
        let (mut is_inside, mut is_there) = (false, false);
        for line in text.lines().filter(|line| !line.starts_with(['#', ';', ' ', '\t'])) {
            if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
                let words: Vec<&str> = section.split_whitespace().collect();
                is_inside = sections.contains(&words.join(" "));
                is_there |= is_inside;
            } else if let Some((name, value)) = line.split_once('=').filter(|_| is_inside) {
                self.values.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
            }
        }
        is_there
    }
}

/// A file's text, without what comes after [`MAX_FILE`] bytes; `None` where there is no file.
fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A home directory with both files.
    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        let config = "[default]\nregion = eu-central-1\n[ profile  lab ]\nregion=us-west-2\nendpoint_url = https://store\n\
                      s3 =\n  region = none\n[profile sso]\nsso_session = x\n";
        let credentials = "# keys\n[default]\naws_access_key_id = D\naws_secret_access_key = ds\n\n[lab]\n\
                           AWS_ACCESS_KEY_ID=L\naws_secret_access_key=l=s\naws_session_token = t\n";
        fs::write(home.path().join(".aws/config"), config).unwrap();
        fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        home
    }

    fn found(home: &Path, variables: &[(&str, &str)]) -> Result<Found, String> {
        let variable = |name: &str| {
            let set =
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            set.or_else(|| (name == "HOME").then(|| home.display().to_string()))
        };
        Found::in_environment(&variable).map_err(|error| error.to_string())
    }

    fn values(found: &Found) -> Vec<&str> {
        found.options.iter().map(|(_, value)| value.as_str()).collect()
    }

    #[test]
    fn a_profile_has_what_the_environment_lacks() {
        let home = home();
        let plain = found(home.path(), &[]).unwrap();
        assert_eq!((values(&plain), plain.asks_machine), (vec!["eu-central-1", "D", "ds"], false));
        let lab = found(home.path(), &[("AWS_PROFILE", "lab")]).unwrap();
        assert_eq!(values(&lab), ["us-west-2", "https://store", "L", "l=s", "t"]);
        let mixed = [("AWS_PROFILE", "lab"), ("AWS_ACCESS_KEY_ID", "E"), ("AWS_REGION", "x")];
        assert_eq!(values(&found(home.path(), &mixed).unwrap()), ["https://store"]);
        let endpoint =
            [("AWS_PROFILE", "lab"), ("AWS_ENDPOINT_URL", "https://other"), ("AWS_SKIP_SIGNATURE", "true")];
        assert_eq!(values(&found(home.path(), &endpoint).unwrap()), ["us-west-2"]);
    }

    #[test]
    fn a_region_is_a_part_of_a_host() {
        assert!(is_region("eu-central-1") && is_region("") && is_region("auto"));
        for bad in ["../", "eu central", "a/b", "a.b", "a#", "\u{e9}"] {
            assert!(!is_region(bad), "{bad}");
        }
    }

    #[test]
    fn what_goes_into_a_header_or_a_url_can_be_there() {
        assert!(is_sent("AWS_SESSION_TOKEN", "a+/=") && is_sent("AWS_ENDPOINT_URL", "http://h:1"));
        for (name, bad) in [
            ("AWS_ACCESS_KEY_ID", "a\u{1b}b"),
            ("AWS_SESSION_TOKEN", "a b"),
            ("AWS_ENDPOINT_URL", "junk"),
            ("AWS_ENDPOINT_URL_S3", "https://"),
        ] {
            assert!(!is_sent(name, bad), "{name}");
        }
    }

    #[test]
    fn files_are_where_variables_name_them() {
        let home = home();
        let (empty, file) = (tempfile::tempdir().unwrap(), home.path().join(".aws/credentials"));
        let named = found(empty.path(), &[("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())]).unwrap();
        assert_eq!(values(&named), ["D", "ds"]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let home = home();
        let absent = found(home.path(), &[("AWS_PROFILE", "lba")]).unwrap_err();
        assert!(absent.contains("neither ~/.aws/config"), "{absent}");
        let fetched = found(home.path(), &[("AWS_PROFILE", "sso")]).unwrap_err();
        assert!(fetched.contains("sso_session"), "{fetched}");
    }

    #[test]
    fn the_machine_is_asked_only_where_nothing_else_is_there() {
        let empty = tempfile::tempdir().unwrap();
        assert!(found(empty.path(), &[]).unwrap().asks_machine);
        for other in
            ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_METADATA_ENDPOINT"]
        {
            assert!(!found(empty.path(), &[(other, "x")]).unwrap().asks_machine, "{other}");
        }
        assert!(found(empty.path(), &[("AWS_SKIP_SIGNATURE", "false")]).unwrap().asks_machine);
        let home = home();
        let both = found(home.path(), &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "x")]).unwrap();
        assert_eq!(values(&both), ["eu-central-1", "D", "ds"], "a profile comes first");
        let off = found(empty.path(), &[("AWS_EC2_METADATA_DISABLED", "true")]).unwrap_err();
        assert!(off.contains("no credentials"), "{off}");
    }
}
