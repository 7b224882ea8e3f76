//! Components that each break one rule of `plugin.h`, to prove that the
//! conformance suite notices. Beside them stand sound ones, to prove that it
//! does not cry wolf.
//!
//! Each kind has one implementation with a constant parameter that says which
//! rule it breaks, so that a fault differs from the sound component in a line
//! or two. `tests/conformance/tests/faulty.rs` says which checks must fail.

mod compressions;
mod configs;
mod formats;
mod listener;
mod sinks;
mod sources;
mod states;
mod transforms;

use compressions::Runs;
use configs::*;
use formats::Tabbed;
use listener::Listener;
use sinks::{Shelf, ShelfSource};
use sources::Count;
use states::Memory;
use transforms::Through;

engine_sdk::module!("faulty_components":
    source "sound_source" => Count<{ sources::SOUND }>,
    source "same_ids" => Count<{ sources::SAME_IDS }>,
    source "announces_other_types" => Count<{ sources::OTHER_TYPES }>,
    source "sends_nulls_where_none_may_be" => Count<{ sources::FORBIDDEN_NULLS }>,
    source "sends_fewer_columns" => Count<{ sources::FEWER_COLUMNS }>,
    source "panics_in_mid_stream" => Count<{ sources::PANICS }>,
    source "changes_between_reads" => Count<{ sources::CHANGES }>,
    source "cursor_stands_still" => Count<{ sources::STANDS_STILL }>,
    source "knows_its_own" => Count<{ sources::KNOWS_ITS_OWN }>,
    source "plans_again" => Count<{ sources::PLANS_AGAIN }>,
    source "never_stops" => Count<{ sources::NEVER_STOPS }>,
    push_source "sound_listener" => Listener<{ listener::SOUND }>,
    push_source "never_hangs_up" => Listener<{ listener::NEVER_HANGS_UP }>,
    transform "sound_transform" => Through<{ transforms::SOUND }>,
    transform "panics_without_rows" => Through<{ transforms::NEEDS_ROWS }>,
    transform "fails_on_one_row" => Through<{ transforms::NEEDS_TWO_ROWS }>,
    transform "tires_of_batches" => Through<{ transforms::TIRES }>,
    transform "fails_on_nulls" => Through<{ transforms::NEEDS_VALUES }>,
    transform "panics_on_rare_types" => Through<{ transforms::NEEDS_COMMON_TYPES }>,
    transform "loses_rows" => Through<{ transforms::LOSES_ROWS }>,
    transform "ends_quietly" => Through<{ transforms::ENDS_QUIETLY }>,
    transform "goes_on_for_ever" => Through<{ transforms::GOES_ON }>,
    transform "drags_others_down" => Through<{ transforms::SHARES_A_FLAG }>,
    transform "panics_in_close" => Through<{ transforms::PANICS_IN_CLOSE }>,
    transform "takes_unknown_settings" => Configured<TakesUnknownSettings>,
    transform "forgets_to_deny" => Configured<ForgetsToDeny>,
    transform "describes_nothing" => Configured<DescribesNothing>,
    transform "shows_what_does_not_work" => Configured<ShowsWhatDoesNotWork>,
    transform "takes_anything" => Configured<TakesAnything>,
    transform "panics_in_open" => Configured<PanicsInOpen>,
    transform "blames_the_login" => Configured<BlamesTheLogin>,
    transform "says_nothing_in_check" => Configured<SaysNothingInCheck>,
    transform "fails_in_check" => Configured<FailsInCheck>,
    format "sound_format" => Tabbed<{ formats::SOUND }>,
    format "cuts_at_pieces" => Tabbed<{ formats::CUTS_AT_PIECES }>,
    format "panics_on_garbage" => Tabbed<{ formats::TRUSTS_BYTES }>,
    format "counts_nothing" => Tabbed<{ formats::COUNTS_NOTHING }>,
    format "forgets_to_escape" => Tabbed<{ formats::FORGETS_TO_ESCAPE }>,
    format "cuts_inside" => Tabbed<{ formats::CUTS_INSIDE }>,
    format "sound_compression" => Runs<{ compressions::SOUND }>,
    format "joins_files" => Runs<{ compressions::JOINS_FILES }>,
    format "trusts_the_end" => Runs<{ compressions::TRUSTS_THE_END }>,
    format "counts_files" => Runs<{ compressions::COUNTS_FILES }>,
    source "shelf" => ShelfSource,
    sink "sound_sink" => Shelf<{ sinks::SOUND }>,
    sink "shows_before_commit" => Shelf<{ sinks::SHOWS_EARLY }>,
    sink "doubles" => Shelf<{ sinks::DOUBLES }>,
    sink "keeps_what_was_aborted" => Shelf<{ sinks::KEEPS_ABORTED }>,
    sink "adds_to_pieces" => Shelf<{ sinks::ADDS_TO_PIECES }>,
    sink "trusts_its_memory" => Shelf<{ sinks::TRUSTS_MEMORY }>,
    sink "overwrites_others" => Shelf<{ sinks::OVERWRITES }>,
    sink "begins_once" => Shelf<{ sinks::BEGINS_ONCE }>,
    sink "does_not_say_where" => Shelf<{ sinks::NO_PLACE }>,
    sink "loses_rows" => Shelf<{ sinks::LOSES_ROWS }>,
    sink "alone" => Shelf<{ sinks::ALONE }>,
    state "sound_state" => Memory<{ states::SOUND }>,
    state "gives_itself_away" => Memory<{ states::GIVES_AWAY }>,
    state "holds_on" => Memory<{ states::HOLDS_ON }>,
    state "takes_any_order" => Memory<{ states::ANY_ORDER }>,
    state "works_by_halves" => Memory<{ states::BY_HALVES }>,
    state "keeps_what_is_gone" => Memory<{ states::KEEPS }>,
);
