//! How the process that decodes an image hands its files to the one that asked, which believes nothing of it: a line of
//! magic, records, an end. A number is four or eight bytes, little endian; bytes come after their count.
//!
//! ```text
//! "kdump image 2\n"
//! { "m", layer u8, keys u8, mode u32, owner u32, size u64, path, target, has content u8, [content]
//! | "l" }                                                 a file system inside follows
//! "."                                                      whole
//! "!", text                                                or why not
//! ```

use super::tree::{Layer, Member, Tree};
use std::io::{self, Read, Write};

const MAGIC: &[u8] = b"kdump image 2\n";
/// The longest answer that is read.
pub const MAX_ANSWER: u64 = 96 << 20;
const MAX_PATH: u32 = 1 << 20;
const MAX_CONTENT: u32 = 48 << 20;
const MAX_MEMBERS: usize = 100_000;
const MAX_TEXT: u32 = 4096;

/// Why an answer tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The image could not be read; the other process reports why.
    #[error("{0}")]
    Refused(String),
    /// It ends early, or breaks the format.
    #[error("what was decoded is incomplete")]
    Broken,
}

impl From<io::Error> for WireError {
    fn from(_: io::Error) -> WireError {
        WireError::Broken
    }
}

/// Writes the files of an image, or why there are none.
///
/// # Errors
/// Those of the writer.
pub fn write_answer(out: &mut dyn Write, tree: &Result<Tree, super::Error>) -> io::Result<()> {
    out.write_all(MAGIC)?;
    match tree {
        Ok(tree) => {
            write_layer(out, 0, &tree.outer)?;
            if let Some(inner) = &tree.inner {
                // An empty layer is one, too.
                out.write_all(b"l")?;
                write_layer(out, 1, inner)?;
            }
            out.write_all(b".")
        }
        Err(error) => {
            out.write_all(b"!")?;
            let text: String = error.to_string().chars().take(MAX_TEXT as usize / 4).collect();
            write_bytes(out, text.as_bytes())
        }
    }
}

fn write_layer(out: &mut dyn Write, layer: u8, members: &Layer) -> io::Result<()> {
    for (path, member) in members.iter() {
        let keys = u8::from(member.has_identity) | u8::from(member.has_private_key) << 1;
        out.write_all(&[b'm', layer, keys])?;
        out.write_all(&member.mode.to_le_bytes())?;
        out.write_all(&member.owner.to_le_bytes())?;
        out.write_all(&member.size.to_le_bytes())?;
        write_bytes(out, path)?;
        write_bytes(out, &member.target)?;
        out.write_all(&[member.content.is_some().into()])?;
        if let Some(content) = &member.content {
            write_bytes(out, content)?;
        }
    }
    Ok(())
}

fn write_bytes(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    let count = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    out.write_all(&count.to_le_bytes())?;
    out.write_all(bytes)
}

/// Reads an answer.
///
/// # Errors
/// [`WireError`].
pub fn read_answer(mut bytes: &[u8]) -> Result<Tree, WireError> {
    let source = &mut bytes;
    if take::<{ MAGIC.len() }>(source)? != MAGIC {
        return Err(WireError::Broken);
    }
    let mut tree = Tree::default();
    for _ in 0..=MAX_MEMBERS.saturating_add(1) {
        match take::<1>(source)? {
            [b'm'] => read_member(source, &mut tree)?,
            [b'l'] => tree.inner = Some(Layer::default()),
            [b'.'] if source.is_empty() => return Ok(tree),
            [b'!'] => {
                let text = read_bytes(source, MAX_TEXT)?;
                return Err(WireError::Refused(String::from_utf8_lossy(&text).into_owned()));
            }
            _ => break,
        }
    }
    Err(WireError::Broken)
}

fn read_member(source: &mut &[u8], tree: &mut Tree) -> Result<(), WireError> {
    let [layer, keys] = take::<2>(source)?;
    let layer = match (layer, &mut tree.inner) {
        (0, _) => &mut tree.outer,
        (1, Some(inner)) => inner,
        _ => return Err(WireError::Broken),
    };
    let mode = u32::from_le_bytes(take(source)?);
    let owner = u32::from_le_bytes(take(source)?);
    let size = u64::from_le_bytes(take(source)?);
    let path = read_bytes(source, MAX_PATH)?;
    let target = read_bytes(source, MAX_PATH)?;
    let content = match take::<1>(source)? {
        [0] => None,
        [1] => Some(read_bytes(source, MAX_CONTENT)?),
        _ => return Err(WireError::Broken),
    };
    let (has_identity, has_private_key) = (keys & 1 != 0, keys & 2 != 0);
    layer.insert(path, Member { mode, size, target, content, has_identity, has_private_key, owner });
    Ok(())
}

fn take<const N: usize>(source: &mut &[u8]) -> Result<[u8; N], WireError> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_bytes(source: &mut &[u8], most: u32) -> Result<Vec<u8>, WireError> {
    let count = u32::from_le_bytes(take(source)?);
    if count > most {
        return Err(WireError::Broken);
    }
    let (bytes, rest) = source.split_at_checked(count as usize).ok_or(WireError::Broken)?;
    *source = rest;
    Ok(bytes.to_vec())
}
