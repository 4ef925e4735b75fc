//! What is left out of a dump beyond makedumpfile, as both programs let one choose it.

use crate::filter::Beyond;
use clap::Args as ClapArgs;

/// `--help` heading, set per option: on the struct it would also apply to the options after it.
const HEADING: &str = "Pages";

/// The options.
#[derive(ClapArgs, Debug)]
pub(super) struct BeyondArgs {
    /// Leave out the pages that makedumpfile leaves out at the same level, no others: docs/filtering.md lists where it is
    /// wrong
    #[arg(long, help_heading = HEADING)]
    as_makedumpfile: bool,
    /// Save the free pages that CPUs keep on lists of their own: for who hunts a use after free
    #[arg(long, help_heading = HEADING)]
    keep_cpu_lists: bool,
    /// Save page structures also where they describe only pages that are left out: for who asks about such a page itself,
    /// as `kmem -p` and `files -p` of crash do. On a machine with much memory they are most of the dump
    #[arg(long, help_heading = HEADING, overrides_with = "drop_page_structures")]
    keep_page_structures: bool,
    /// Leave them out, at levels that leave out all cache, user and free pages: the default, except where vmcore-encrypt
    /// gets a dump of such a level
    #[arg(
        long,
        help_heading = HEADING,
        conflicts_with = "as_makedumpfile",
        overrides_with = "keep_page_structures"
    )]
    drop_page_structures: bool,
}

impl BeyondArgs {
    /// What is left out; page structures by the default where no option names them.
    pub(super) fn beyond(&self, drops_structures: bool) -> Beyond {
        if self.as_makedumpfile {
            return Beyond::NOTHING;
        }
        Beyond {
            cpu_lists: !self.keep_cpu_lists,
            structures: self.drop_page_structures || (drops_structures && !self.keep_page_structures),
            types_from: Beyond::TYPES_FROM,
            ..Beyond::default()
        }
    }
}
