//! Large files into several splits, before their window is stored.

use engine_abi::message::{Plan, Split};
use engine_abi::stream::Batches;
use engine_abi::{ByteRange, Cut, Cuttable, Error, Result, Scope, Unit};
use engine_spec::TemplateVariables;

use crate::assembly::Assembly;
use crate::front;
use crate::plain::plain;
use crate::queue::ahead;
use crate::stop::Stop;
use crate::upstream::Upstream;

impl Assembly {
    /// Whether large files are cut: their format finds the places, and it makes a
    /// difference to every sink in how many splits they come.
    pub fn cuts_files(&self) -> bool {
        let decoder = self.source.decoder.as_ref();
        // A compressed file can only be read from its beginning.
        self.source.compression.is_none()
            && decoder.is_some_and(|decoder| decoder.component.description().cuts)
            && self.sinks.iter().all(|sink| sink.unit() == Unit::Split)
            && self.transforms.iter().all(|part| part.scope() != Scope::Window)
    }

    /// The file of a split that is cut where its decoder finds places. One that is not large enough for a second
    /// piece is not looked through for nothing.
    pub fn cuts(&self, split: &Split) -> Option<Cuttable> {
        let is_large = |file: &Cuttable| file.bytes >= file.every.saturating_add(file.every / 2);
        split.cut.filter(|file| is_large(file) && self.cuts_files())
    }
}

/// Cuts the files of a plan that may be cut, at places that the decoder finds.
pub(crate) fn cut(
    assembly: &Assembly,
    upstream: &mut Upstream,
    plan: Plan,
    variables: &TemplateVariables,
    stop: &Stop,
) -> Result<Plan> {
    let mut splits = Vec::with_capacity(plan.splits.len());
    for split in plan.splits {
        match assembly.cuts(&split) {
            Some(file) => {
                let cuts = upstream.cuts(&split, variables, stop)?;
                splits.extend(pieces(split, file.bytes, &places(cuts, file.every, file.bytes)?)?);
            }
            None => splits.push(split),
        }
    }
    Ok(Plan { splits, ..plan })
}

/// Of all places, those that are about as far from each other as pieces should be long.
fn places(cuts: impl Iterator<Item = Result<Cut>>, every: u64, bytes: u64) -> Result<Vec<Cut>> {
    let mut places: Vec<Cut> = Vec::new();
    let mut before = None;
    for cut in cuts {
        let cut = cut?;
        let before = before.replace(cut).unwrap_or(Cut { head: cut.head, at: cut.head, lines: 0 });
        if cut.head != before.head || cut.at <= before.at || cut.at > bytes || cut.lines < before.lines {
            let message = format!("the format cuts a file of {bytes} bytes at {before:?} and then at {cut:?}");
            let error = Error::internal(message).hint("this is a bug in the module; report it to its author");
            return Err(error.at("source"));
        }
        // No piece is smaller than half of what was asked for, the last one included.
        let last = places.last().map_or(cut.head, |last| last.at);
        if cut.at - last >= every && bytes - cut.at >= every / 2 {
            places.push(cut);
        }
    }
    Ok(places)
}

/// The splits of a file that is cut at these places.
fn pieces(split: Split, bytes: u64, places: &[Cut]) -> Result<Vec<Split>> {
    if places.is_empty() {
        return Ok(vec![Split { cut: None, ..split }]);
    }
    let first = ByteRange { head: 0, from: 0, to: places[0].at, lines: 0 };
    let ends = places.iter().skip(1).map(|cut| cut.at).chain([bytes]);
    let later =
        places.iter().zip(ends).map(|(cut, to)| ByteRange { head: cut.head, from: cut.at, to, lines: cut.lines });
    std::iter::once(first)
        .chain(later)
        .enumerate()
        .map(|(at, range)| {
            let mut spec = split.spec.clone();
            let members = spec.as_object_mut().ok_or_else(|| {
                Error::internal(format!("split `{}` may be cut, but its `spec` has no members", split.id))
                    .hint("this is a bug in the module; report it to its author")
                    .at("source")
            })?;
            let range = serde_json::to_value(range).map_err(|error| Error::internal(error.to_string()))?;
            members.insert("range".to_owned(), range);
            Ok(Split { id: format!("{}-{at:06}", split.id), spec, estimated_rows: None, cut: None })
        })
        .collect()
}

/// A file that is looked through for as long as nobody asks to stop: there is no window yet that would have to be
/// completed, and a file may be large and have no place to be cut at.
fn until_draining(file: Batches, stop: &Stop) -> Batches {
    let (schema, stop) = (file.schema(), stop.clone());
    Batches::new(schema, file.map(move |piece| if stop.draining() { Err(Error::cancelled()) } else { piece }))
}

impl Upstream {
    /// The places at which a file can be cut.
    fn cuts(&mut self, split: &Split, variables: &TemplateVariables, stop: &Stop) -> Result<engine_abi::Cuts> {
        let mut front = front::lock(&self.front);
        let opened = front.source.instance(variables).and_then(|source| source.read(split));
        let file = until_draining(plain(opened.map_err(|error| error.at("source"))?), stop);
        let file = ahead("source", file, stop, self.queue_bytes)?;
        let Some(decoder) = &mut front.decoder else { return Ok(Box::new(std::iter::empty())) };
        let cuts = decoder.instance(variables).and_then(|it| it.cut(file)).map_err(|error| error.at("source"))?;
        Ok(Box::new(cuts.map(|cut| cut.map_err(|error| error.at("source")))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(places: &[u64]) -> impl Iterator<Item = Result<Cut>> {
        places.iter().map(|at| Ok(Cut { head: 4, at: *at, lines: at / 10 }))
    }

    #[test]
    fn pieces_are_about_as_long_as_asked_for() {
        let found: Vec<u64> =
            places(at(&[10, 40, 54, 90, 104, 150, 205, 230]), 50, 240).unwrap().iter().map(|cut| cut.at).collect();
        assert_eq!(found, [54, 104, 205]);
        assert_eq!(places(at(&[10, 120, 225]), 100, 240).unwrap().len(), 1);
        assert_eq!(places(at(&[]), 100, 240).unwrap(), []);
    }

    #[test]
    fn places_that_go_back_or_beyond_the_file_are_a_bug_of_the_format() {
        for wrong in [&[90, 80][..], &[90, 250], &[4]] {
            assert_eq!(places(at(wrong), 50, 240).unwrap_err().kind, engine_abi::ErrorKind::Internal);
        }
    }

    #[test]
    fn a_head_that_changes_would_read_some_bytes_twice() {
        let cuts = [Cut { head: 4, at: 60, lines: 3 }, Cut { head: 9, at: 120, lines: 5 }].map(Ok);
        assert_eq!(places(cuts.into_iter(), 50, 240).unwrap_err().kind, engine_abi::ErrorKind::Internal);
    }

    #[test]
    fn nothing_is_looked_through_after_a_request_to_stop() {
        let stop = Stop::new();
        stop.drain();
        let piece = arrow_array::RecordBatch::new_empty(std::sync::Arc::new(arrow_schema::Schema::empty()));
        assert_eq!(until_draining(Batches::once(piece), &stop).next().unwrap().unwrap_err(), Error::cancelled());
    }

    #[test]
    fn the_pieces_of_a_file_are_the_whole_file() {
        let split = Split::new("0003", json!({"path": "a.csv"})).unwrap().cuttable(240, 50);
        let cuts: Vec<_> = at(&[54, 104]).collect::<Result<_>>().unwrap();
        let pieces = pieces(split.clone(), 240, &cuts).unwrap();
        let ids: Vec<_> = pieces.iter().map(|piece| piece.id.as_str()).collect();
        assert_eq!(ids, ["0003-000000", "0003-000001", "0003-000002"]);
        let ranges: Vec<_> = pieces.iter().map(|piece| piece.spec["range"].clone()).collect();
        assert_eq!(
            ranges,
            [
                json!({"head": 0, "from": 0, "to": 54, "lines": 0}),
                json!({"head": 4, "from": 54, "to": 104, "lines": 5}),
                json!({"head": 4, "from": 104, "to": 240, "lines": 10}),
            ]
        );
        assert_eq!(pieces[1].spec["path"], "a.csv");
        assert_eq!(super::pieces(split.clone(), 240, &[]).unwrap(), [Split { cut: None, ..split }]);
    }
}
