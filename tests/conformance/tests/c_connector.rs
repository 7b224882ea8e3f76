//! The border is real only if another language can use it: a module in C
//! passes the very same suite.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch, StringArray};
use engine_abi::message::{OpenRequest, PlanRequest, Sandbox};
use engine_abi::{Batches, ComponentKind};
use engine_conformance::{Fixtures, Recorder, check_module};
use engine_conformance_tests as modules;
use engine_host::{Component, Direction, Modules};
use serde_json::{Value, json};

fn module() -> std::path::PathBuf {
    let folder = modules::workspace().join("tests/modules/c_example");
    modules::compile_c(&folder, "engine_c_example", &[]).unwrap()
}

fn open(component: &Arc<Component>, config: Value, host: &Arc<Recorder>) -> engine_host::Instance {
    let request = OpenRequest { config, pipeline: "test".into(), stage: "test".into(), ..OpenRequest::default() };
    component.open(&request, &Sandbox::default(), Arc::clone(host) as Arc<dyn engine_host::Host>).unwrap()
}

fn component(kind: ComponentKind, name: &str) -> Arc<Component> {
    let folder = module().parent().unwrap().to_owned();
    Modules::discover(&[folder], None).component(kind, name).unwrap()
}

#[test]
fn the_c_connector_conforms() {
    let fixtures = Fixtures::of_folder(&modules::workspace().join("tests/modules/c_example")).unwrap();
    let report = check_module(&module(), &fixtures);
    println!("{report}");
    assert!(report.conforms(), "{:#?}", report.complaints());
}

#[test]
fn the_c_source_counts_in_splits_that_can_be_read_in_any_order() {
    let host = Arc::new(Recorder::default());
    let mut source =
        open(&component(ComponentKind::Source, "c_count"), json!({"rows": 2500, "split_rows": 1000}), &host);
    let plan = source.plan(&PlanRequest::default()).unwrap();
    assert_eq!(plan.splits.iter().map(|split| split.estimated_rows.unwrap()).collect::<Vec<_>>(), [1000, 1000, 500]);
    let last: Vec<RecordBatch> = source.read(&plan.splits[2]).unwrap().map(Result::unwrap).collect();
    let texts = last[0].column(1).as_any().downcast_ref::<StringArray>().unwrap();
    assert_eq!((texts.value(0), texts.value(499), texts.len()), ("row 2001", "row 2500", 500));
}

#[test]
fn the_c_transform_refuses_a_row_with_a_nul_and_its_neighbours_go_on() {
    let host = Arc::new(Recorder::default());
    let mut upper = open(&component(ComponentKind::Transform, "c_upper"), json!({"column": "text"}), &host);
    let texts = StringArray::from(vec![Some("\0a"), Some("grüße"), None, Some("b\0b"), Some("b\0b"), Some("z")]);
    let batch = RecordBatch::try_from_iter([("text", Arc::new(texts) as Arc<dyn Array>)]).unwrap();
    // A slice: the buffers begin before the rows do.
    let input = Batches::once(batch.slice(1, 5));
    let output: Vec<RecordBatch> = upper.apply(Direction::Apply, input).unwrap().map(Result::unwrap).collect();
    let texts: Vec<_> = output
        .iter()
        .flat_map(|batch| batch.column(0).as_any().downcast_ref::<StringArray>().unwrap().iter())
        .map(|text| text.map(str::to_owned))
        .collect();
    assert_eq!(texts, [Some("GRüßE".to_owned()), None, Some("Z".to_owned())]);
    assert_eq!((host.rejected(), host.unexplained().len()), (2, 0));
}
