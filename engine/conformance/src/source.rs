//! What holds for sources: they plan, read and stop as they should.

use std::sync::{Arc, mpsc};
use std::time::Instant;

use arrow_array::RecordBatch;
use engine_abi::message::{Delivered, Plan, PlanRequest, Split};
use engine_abi::{ComponentKind, ErrorKind, Shape};
use engine_host::Instance;

use crate::fixture::Place;
use crate::flow::{PROMPT, prompt};
use crate::rows::require_same;
use crate::subject::{Stop, Subject, Verdict, open, require};
use crate::suite::Session;
use crate::{Check, rows, sink};

pub(crate) fn run(subject: &Arc<Subject>, session: &mut Session<'_>) {
    subject.check(session, Check::Plan, plan);
    subject.check(session, Check::Read, read);
    subject.check(session, Check::ReadAgain, read_again);
    subject.check(session, Check::Cursor, cursor);
    subject.check(session, Check::Told, told);
    subject.check(session, Check::Cancel, cancel);
}

pub(crate) fn run_push(subject: &Arc<Subject>, session: &mut Session<'_>) {
    subject.check(session, Check::Listen, listen);
}

/// What a fixture's `prepare` puts there for the source to find.
fn prepared() -> Vec<RecordBatch> {
    vec![rows::plain(1, 12), rows::plain(13, 12)]
}

/// Surroundings in which there is something to read.
pub(crate) fn filled_place(subject: &Subject) -> Result<Place, Stop> {
    let place = subject.place()?;
    if let Some(prepare) = &subject.fixture.prepare {
        let mut instance = subject.open_other(ComponentKind::Sink, prepare, &place)?;
        sink::deliver_to(&mut instance, &place, prepared())?;
    }
    Ok(place)
}

/// Reads every split of a plan, in the order of `order`.
fn read_splits(instance: &mut Instance, plan: &Plan) -> Result<Vec<RecordBatch>, Stop> {
    let mut batches = Vec::new();
    for split in &plan.splits {
        for batch in instance.read(split)? {
            batches.push(batch?);
        }
    }
    Ok(batches)
}

/// All that a source gives: plans and reads.
pub(crate) fn read_all(instance: &mut Instance) -> Result<Vec<RecordBatch>, Stop> {
    let plan = instance.plan(&PlanRequest::default())?;
    read_splits(instance, &plan)
}

fn plan(subject: &Subject) -> Verdict {
    let place = filled_place(subject)?;
    let (mut instance, _) = subject.open(&place, 1)?;
    let plan = instance.plan(&PlanRequest::default())?;
    let ids: Vec<_> = plan.splits.iter().map(|split| split.id.as_str()).collect();
    require(!ids.is_empty(), || "there are no splits, although there is something to read".into())?;
    require(ids.iter().all(|id| !id.is_empty()), || format!("a split has no id: {ids:?}"))?;
    require(ids.is_sorted_by(|first, second| first < second), || {
        format!("the ids are not different, or do not sort in the order of the splits: {ids:?}")
    })?;
    if subject.component.description().repeatable {
        let (mut second, _) = subject.open(&place, 1)?;
        let again = second.plan(&PlanRequest::default())?;
        let ids_again: Vec<_> = again.splits.iter().map(|split| split.id.as_str()).collect();
        require_same("ids of splits planned again", &ids_again, &ids)?;
    }
    Ok(())
}

fn read(subject: &Subject) -> Verdict {
    let place = filled_place(subject)?;
    let (mut instance, _) = subject.open(&place, 1)?;
    let batches = read_all(&mut instance)?;
    require(rows::count(&batches) > 0, || "there are no rows, although there is something to read".into())?;
    if subject.component.description().gives == Shape::Files {
        rows::bytes(&batches)?;
    }
    if subject.fixture.prepare.is_some() {
        let keys = |batches: &[RecordBatch]| batches.iter().map(rows::keys).collect::<Result<Vec<_>, _>>();
        let (mut found, mut expected) = (keys(&batches)?.concat(), keys(&prepared())?.concat());
        found.sort();
        expected.sort();
        require_same("rows", &found, &expected)?;
    }
    Ok(())
}

fn read_again(subject: &Subject) -> Verdict {
    if !subject.component.description().repeatable {
        return Err(Stop::NotPromised("it cannot read a split again".into()));
    }
    let place = filled_place(subject)?;
    let (mut first, _) = subject.open(&place, 1)?;
    let plan = first.plan(&PlanRequest::default())?;
    let (mut second, _) = subject.open(&place, 1)?;
    let (mut third, _) = subject.open(&place, 1)?;
    // What says how they were cut, but not their specs: these may hold the moment of the plan.
    let again = third.plan(&PlanRequest::default())?;
    let one = |split: &Split| Plan { splits: vec![split.clone()], upper: None, ..Plan::default() };
    // In the other order: a split must not depend on the ones before.
    for (split, again) in plan.splits.iter().zip(&again.splits).rev() {
        let rows = rows::values(&read_splits(&mut first, &one(split))?)?;
        let rows_again = rows::values(&read_splits(&mut second, &one(split))?)?;
        require_same(&format!("rows of split {}", split.id), &rows_again, &rows)?;
        let rows_again = rows::values(&read_splits(&mut third, &one(again))?)?;
        require_same(&format!("rows of split {}, planned again", split.id), &rows_again, &rows)?;
    }
    Ok(())
}

fn cursor(subject: &Subject) -> Verdict {
    let place = filled_place(subject)?;
    let (mut instance, _) = subject.open(&place, 1)?;
    let Some(upper) = instance.plan(&PlanRequest::default())?.upper else {
        return Err(Stop::NotPromised("it has no cursor: every run reads everything".into()));
    };
    let (mut later, _) = subject.open(&place, 2)?;
    let next = later.plan(&PlanRequest { cursor: Some(upper.clone()), ..PlanRequest::default() })?;
    let rows = rows::count(&read_splits(&mut later, &next)?);
    require(rows == 0, || format!("after the cursor {upper} nothing is new, but {rows} rows came again"))?;
    let again = next.upper.unwrap_or_else(|| upper.clone());
    require(again == upper, || format!("nothing is new, but the cursor went from {upper} to {again}"))?;
    if subject.component.description().ranges {
        let all = rows::count(&read_all(&mut instance)?);
        let range = later.plan(&PlanRequest { cursor: None, upper: Some(upper.clone()), ..PlanRequest::default() })?;
        let rows = rows::count(&read_splits(&mut later, &range)?);
        require(rows == all && range.upper.as_ref() == Some(&upper), || {
            format!("up to {upper}, {rows} of {all} rows were planned, up to {:?}", range.upper)
        })?;
    }
    Ok(())
}

fn told(subject: &Subject) -> Verdict {
    let place = filled_place(subject)?;
    let (mut instance, _) = subject.open(&place, 1)?;
    let plan = instance.plan(&PlanRequest::default())?;
    if !plan.tell {
        return Err(Stop::NotPromised("it does not ask what was delivered".into()));
    }
    read_splits(&mut instance, &plan)?;
    // The next run, while a sink misses some of it.
    let (mut next, _) = subject.open(&place, 1)?;
    let request = PlanRequest { cursor: plan.upper, undelivered: plan.splits.clone(), ..PlanRequest::default() };
    let meanwhile = next.plan(&request)?;
    let rows = rows::count(&read_splits(&mut next, &meanwhile)?);
    require(rows == 0, || format!("of what waits to be delivered, {rows} rows were planned once more"))?;
    let window = Delivered { pipeline: "conformance".into(), window: 1, splits: plan.splits };
    instance.delivered(&window)?;
    let (mut later, _) = subject.open(&place, 1)?;
    Ok(later.delivered(&window)?)
}

fn cancel(subject: &Subject) -> Verdict {
    let place = filled_place(subject)?;
    let config = subject.fixture.long.as_ref().map_or_else(|| subject.config(), Ok)?;
    let (mut instance, host) = open(&subject.component, &place, &place.fill(config, 1)?, Shape::Rows)?;
    let plan = instance.plan(&PlanRequest::default())?;
    let split = plan.splits.first().ok_or_else(|| Stop::NotRun("there are no splits to read".into()))?;
    let mut rows = instance.read(split)?;
    rows.next().transpose()?;
    host.cancel();
    let begun = Instant::now();
    for batch in rows {
        match batch {
            Ok(_) => prompt(begun)?,
            Err(error) if error.kind == ErrorKind::Cancelled => return prompt(begun),
            Err(error) => {
                return Err(Stop::Failed(format!("it answered with `{}` instead of `cancelled`: {error}", error.kind)));
            }
        }
    }
    prompt(begun)?;
    // A short source may have come to its end without asking: only a long one shows that it stops.
    match subject.fixture.long {
        Some(_) => Ok(()),
        None => Err(Stop::NotRun(
            "it came to its end before it said `cancelled`: add `long` to its fixture in conformance.json, \
             a configuration that gives more than can be read in seconds"
                .into(),
        )),
    }
}

fn listen(subject: &Subject) -> Verdict {
    let place = subject.place()?;
    let (mut instance, host) = subject.open(&place, 1)?;
    // It is asked to stop when it has been at work for a while: at its third question.
    host.cancel_at_question(3);
    let (answer, wait) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody waits any longer when the limit has passed.
        let _ = answer.send(instance.listen());
    });
    match wait.recv_timeout(PROMPT) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if error.kind == ErrorKind::Cancelled => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            let asked = host.asked();
            Err(Stop::Failed(format!("it still listens after {PROMPT:?}; it asked {asked} times whether to stop")))
        }
    }
}
