//! The kernel's description of itself as files: `kallsyms.txt`, `btf`, and a directory `btf.d` with a file per module.
//! It is read when somebody first looks at one of them.

use super::OnMissing;
use crate::kernel::{Description, Kernel};
use crate::mm::KernelMemory;
use crate::read_at::ReadAt;
use crate::reader::Dump;
use crate::vmcore::{PhysSource, VmcoreInfo};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{io, mem};

/// The description of a dump's kernel.
pub(super) struct Described {
    dump: Arc<Dump>,
    read: OnceLock<Description>,
    on_missing: Mutex<OnMissing>,
}

impl Described {
    /// `None` where VMCOREINFO does not lead to a symbol table, as before v6.0: whether there is one would be known only
    /// after a search.
    pub(super) fn new(dump: &Arc<Dump>, on_missing: OnMissing) -> Option<Arc<Described>> {
        VmcoreInfo::parse(dump.vmcoreinfo()).symbol("kallsyms_names")?;
        let (dump, on_missing) = (Arc::clone(dump), Mutex::new(on_missing));
        Some(Arc::new(Described { dump, read: OnceLock::new(), on_missing }))
    }

    fn get(&self) -> &Description {
        self.read.get_or_init(|| {
            let read = read(&self.dump)
                .unwrap_or_else(|why| Description { missing: vec![why], ..Description::default() });
            let mut on_missing = self.on_missing.lock().unwrap_or_else(PoisonError::into_inner);
            mem::replace(&mut *on_missing, Box::new(|_| {}))(&read.missing);
            read
        })
    }

    /// A module's types, by its number in the directory, with its name.
    pub(super) fn module(&self, nth: usize) -> Option<(&str, &Vec<u8>)> {
        self.get().modules.get(nth).map(|(name, types)| (name.as_str(), types))
    }

    /// The modules in the directory.
    pub(super) fn modules(&self) -> impl Iterator<Item = &str> {
        self.get().modules.iter().map(|(name, _)| name.as_str())
    }
}

fn read(dump: &Arc<Dump>) -> Result<Description, String> {
    let vmcore = dump.vmcore().map_err(|error| error.to_string())?;
    let memory = KernelMemory::new(&vmcore).map_err(|error| error.to_string())?;
    Ok(Description::of(&Kernel::new(&memory)))
}

/// One of its files.
pub(super) struct File {
    described: Arc<Described>,
    part: fn(&Description) -> &Vec<u8>,
}

impl File {
    /// `kallsyms.txt`.
    pub(super) fn symbols(described: &Arc<Described>) -> File {
        File { described: Arc::clone(described), part: |description| &description.symbols }
    }

    /// `btf`.
    pub(super) fn types(described: &Arc<Described>) -> File {
        File { described: Arc::clone(described), part: |description| &description.types }
    }

    fn bytes(&self) -> &Vec<u8> {
        (self.part)(self.described.get())
    }
}

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.bytes().read_at(buf, offset)
    }
}

impl PhysSource for File {
    fn len(&self) -> u64 {
        self.bytes().len() as u64
    }
}
