//! CPUs, and the variables that each has for itself.
//!
//! Source: Linux `include/linux/percpu-defs.h`, `mm/percpu.c` (`__per_cpu_offset`), `kernel/cpu.c` (`__cpu_online_mask`).

use super::{Error, Kernel, Object};
use crate::units::VirtAddr;

/// The most CPUs a kernel can be built for: `NR_CPUS` of x86-64 with `CONFIG_MAXSMP`.
pub const MAX_CPUS: u32 = 8192;

impl<'a> Kernel<'a> {
    /// Numbers of the CPUs in a mask: `possible`, `present` or `online`.
    ///
    /// # Errors
    ///
    /// The mask or the number of CPUs cannot be read, or is absurd.
    pub fn cpus(&self, mask: &str) -> Result<Vec<u32>, Error> {
        let count = self.symbol("nr_cpu_ids").and_then(|at| self.u32(at, "nr_cpu_ids"));
        let count = match count {
            Ok(count) if count == 0 || count > MAX_CPUS => {
                return Err(Error::Absurd { what: "number of CPUs", value: count.into() });
            }
            Ok(count) => count,
            // A constant where the kernel is built for a fixed number.
            Err(_) => u32::try_from(self.size_of("cpumask")? * 8).unwrap_or(MAX_CPUS).min(MAX_CPUS),
        };
        let at = self.symbol(&format!("__cpu_{mask}_mask"))?;
        let words = count.div_ceil(64) as usize;
        let bytes = self.reader().vec(at, words * 8, "a mask of CPUs")?;
        let order = self.memory().byte_order();
        let is_set = |cpu: &u32| {
            let word = order.u64_at(&bytes, (cpu / 64) as usize * 8).unwrap_or(0);
            word >> (cpu % 64) & 1 != 0
        };
        Ok((0..count).filter(is_set).collect())
    }

    /// The address of a CPU's own copy of a variable.
    ///
    /// # Errors
    ///
    /// As [`Kernel::symbol`]; the offset of the CPU cannot be read.
    pub fn per_cpu(&self, name: &str, cpu: u32) -> Result<VirtAddr, Error> {
        let variable = self.symbol(name)?;
        Ok(variable.wrapping_add(self.per_cpu_offset(cpu)?))
    }

    /// What is added to the address of a per-CPU variable; nothing on a kernel for one CPU.
    ///
    /// # Errors
    ///
    /// The table of offsets cannot be read.
    pub fn per_cpu_offset(&self, cpu: u32) -> Result<u64, Error> {
        if cpu >= MAX_CPUS {
            return Err(Error::Absurd { what: "number of a CPU", value: cpu.into() });
        }
        match self.symbol("__per_cpu_offset") {
            Ok(table) => self.u64(table.wrapping_add(8 * u64::from(cpu)), "__per_cpu_offset"),
            Err(Error::NoSymbol(_)) if cpu == 0 => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// A CPU's own copy of a structure.
    ///
    /// # Errors
    ///
    /// As [`Kernel::per_cpu`] and [`Kernel::structure`].
    pub fn per_cpu_object(&self, name: &str, structure: &str, cpu: u32) -> Result<Object<'_>, Error> {
        self.object(structure, self.per_cpu(name, cpu)?)
    }
}
