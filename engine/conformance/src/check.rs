//! What is checked. One text for each: it is the documentation here and the
//! sentence in the report.

use serde::Serialize;

/// Makes [`Check`] of its variants, and what is known of each of their documentation.
macro_rules! checks {
    ($($(#[doc = $demand:literal])+ $check:ident,)+) => {
        /// What is checked. The documentation of each says what must hold.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Check {
            $($(#[doc = $demand])+ $check,)+
        }

        impl Check {
            /// All checks, in the order of the report.
            pub const ALL: &[Self] = &[$(Self::$check,)+];

            /// Its name, by which a person picks it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$check => stringify!($check),)+
                }
            }

            /// What must hold, in a sentence.
            pub fn demand(self) -> &'static str {
                match self {
                    // The space behind the slashes of a comment belongs to its text.
                    $(Self::$check => concat!($($demand),+).trim_start(),)+
                }
            }
        }
    };
}

checks! {
    /// The file is a module of this interface, and its table is what its manifest says.
    Loads,
    /// The configuration's schema is a closed JSON Schema object; every setting is described.
    Schema,
    /// There is an example, and every example fits the schema.
    Examples,
    /// Configurations with an unknown key, a wrong type or nothing where something is
    /// required are refused as `config`, with a message.
    BadConfig,
    /// `check` answers with one line, or fails with a kind that is not a bug.
    CheckCall,
    /// A failed instance leaves another one of the same component alone.
    Neighbours,
    /// Splits have ids of their own that sort in order, and are planned the same way twice.
    Plan,
    /// Every split can be read; batches fit the announced columns.
    Read,
    /// A second instance reads the same rows from the same split.
    ReadAgain,
    /// After the upper bound of a window nothing of that window comes again.
    Cursor,
    /// `listen` returns soon after it was asked to stop.
    Listen,
    /// A stream without rows is worked on like any other.
    EmptyInput,
    /// A stream of one row is worked on.
    OneRow,
    /// 50 batches of 100 rows are worked on.
    ManyBatches,
    /// Rows without any value are worked on.
    AllNulls,
    /// Columns of rarer types are taken, or refused as `config` or row by row.
    WideTypes,
    /// Nothing disappears: in = out + filtered + rejected; a decoder's records = rows + rejected;
    /// a compression counts none.
    RowsAddUp,
    /// An input that breaks off is not taken for one that ended.
    BrokenInput,
    /// A source that wants to know what was delivered takes it twice, and plans nothing meanwhile that waits for it.
    Told,
    /// Work that was asked to stop ends soon, with an end or with `cancelled`.
    Cancel,
    /// What a format encodes, it decodes to the same values.
    RoundTrip,
    /// Files of one stream stay files of their own for a compression, the empty ones too.
    Files,
    /// Where a file was cut into pieces does not matter to a decoder.
    Chunking,
    /// A compressed file that ends too early is refused.
    CutShort,
    /// Bytes that are no file of its kind never make a decoder panic.
    Garbage,
    /// What is cut out of a file decodes to what it does in the file.
    Cuts,
    /// A sink shows nothing before `commit`.
    Invisible,
    /// A delivery that comes again under its key is there once.
    CommitOnce,
    /// `abort` leaves nothing, works on nothing and twice, and the delivery can be made again.
    Abort,
    /// A delivery whose `write` was cut off by a crash arrives once when it is made again.
    CrashInWrite,
    /// A delivery that was written but not committed before a crash arrives once.
    CrashBeforeCommit,
    /// Deliveries arrive whole and in their order.
    Order,
    /// Deliveries that several instances make at the same time arrive whole, where the sink allows it.
    Parallel,
    /// `begin_run` and `finish_run` can be called twice.
    RunTwice,
    /// The receipt says how much arrived and where it is.
    Receipt,
    /// A state is one engine's at a time, which others are told of.
    OneHolder,
    /// An engine that gives no sign of life for its lease loses the state.
    Lease,
    /// A state takes changes in their order, and no other.
    InOrder,
    /// A state makes a change as a whole or not at all.
    AllOrNothing,
    /// What a state keeps is given back as it came, and what is gone is gone.
    Documents,
}

#[cfg(test)]
mod tests {
    use super::Check;

    #[test]
    fn every_check_has_a_name_and_a_sentence() {
        assert_eq!(Check::ALL.len(), 40);
        for check in Check::ALL {
            let demand = check.demand();
            assert!(demand.ends_with('.') && !demand.contains("  "), "{}: {demand:?}", check.name());
        }
        assert_eq!(Check::CommitOnce.name(), "CommitOnce");
        assert!(Check::BadConfig.demand().contains("something is required"), "{}", Check::BadConfig.demand());
    }
}
