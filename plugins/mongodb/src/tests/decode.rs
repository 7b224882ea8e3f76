//! Documents into rows, without a server.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use bson::raw::RawDocument;
use bson::{Bson, RawDocumentBuf, doc};
use indexmap::IndexMap;

use crate::columns::UnknownFields;
use crate::decode::{Decoder, Refused};
use crate::kind::{Kind, Nested};

fn kinds(documents: &[bson::Document]) -> IndexMap<String, Kind> {
    let mut kind = Kind::Struct(IndexMap::new());
    for document in documents {
        kind.see(&RawDocumentBuf::try_from(document).unwrap(), Nested::Columns, 0);
    }
    match kind.settled() {
        Kind::Struct(fields) => fields,
        _ => IndexMap::new(),
    }
}

fn decode(
    kinds: &IndexMap<String, Kind>,
    unknown: UnknownFields,
    documents: &[bson::Document],
) -> (RecordBatch, Vec<Refused>) {
    let mut decoder = Decoder::new(kinds, unknown);
    for document in documents {
        decoder.push(&RawDocumentBuf::try_from(document).unwrap());
    }
    decoder.finish().unwrap()
}

#[test]
fn a_document_that_does_not_fit_costs_no_other() {
    let kinds = kinds(&[doc! {"a": 1i64, "b": {"c": ["x"]}}]);
    let documents = [
        doc! {"a": 1i64, "b": {"c": ["x", Bson::Null]}},
        doc! {"a": "text", "b": Bson::Null},
        doc! {"b": {"c": []}},
        doc! {"a": 2i64, "b": {"c": ["x", 7]}},
        doc! {"a": 2i64, "extra": 1},
        doc! {"a": 2i64, "b": {"d": 1}},
        doc! {"a": 3.0},
        doc! {"a": 3.5},
    ];
    let (batch, refused) = decode(&kinds, UnknownFields::Reject, &documents);
    assert_eq!(
        batch.column(0).as_primitive::<arrow_array::types::Int64Type>().iter().collect::<Vec<_>>(),
        [Some(1), None, Some(3)]
    );
    let reasons: Vec<_> = refused.iter().map(|refused| refused.reason.clone()).collect();
    assert_eq!(
        reasons,
        [
            "field `a`: a value of type String in a column of integer",
            "field `b.c.1`: a value of type Int32 in a column of text",
            "field `extra`: no column takes it",
            "field `b.d`: no column takes it",
            "field `a`: a value of type Double in a column of integer",
        ]
    );
    let document = refused[2].document.column(0).as_string::<i32>().value(0);
    assert_eq!(document, r#"{"a":{"$numberLong":"2"},"extra":{"$numberInt":"1"}}"#);
}

#[test]
fn the_id_that_every_document_has_needs_no_column() {
    let kinds = kinds(&[doc! {"a": 1i64, "b": {"c": 1i64}}]);
    let documents = [doc! {"_id": 7, "a": 1i64}, doc! {"_id": 8, "a": 2i64, "b": {"_id": 1, "c": 1i64}}];
    let (batch, refused) = decode(&kinds, UnknownFields::Reject, &documents);
    assert_eq!(batch.num_rows(), 1);
    let reasons: Vec<_> = refused.iter().map(|refused| refused.reason.as_str()).collect();
    assert_eq!(reasons, ["field `b._id`: no column takes it"]);
}

#[test]
fn what_no_column_takes_is_gathered_or_left_out() {
    let kinds = kinds(&[doc! {"a": 1}]);
    let documents = [doc! {"a": 1, "x": [1], "y": "t"}, doc! {"a": 2}];
    let (batch, refused) = decode(&kinds, UnknownFields::Collect, &documents);
    assert!(refused.is_empty());
    assert_eq!(batch.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), [Some(r#"{"x":[1],"y":"t"}"#), None]);
    let (batch, refused) = decode(&kinds, UnknownFields::Drop, &documents);
    assert_eq!((batch.num_rows(), batch.num_columns(), refused.len()), (2, 1, 0));
}

#[test]
fn hostile_documents_are_refused_or_kept_and_never_lost() {
    let kinds = kinds(&[doc! {"a": 1, "j": [1, "x"]}]);
    let mut decoder = Decoder::new(&kinds, UnknownFields::Reject);
    let mut twice = RawDocumentBuf::new();
    twice.append(bson::raw::cstr!("a"), 1);
    twice.append(bson::raw::cstr!("a"), 2);
    decoder.push(&twice);
    let mut deep = bson::RawArrayBuf::new();
    for _ in 0..5000 {
        let mut outer = bson::RawArrayBuf::new();
        outer.push(deep);
        deep = outer;
    }
    let mut document = RawDocumentBuf::new();
    document.append(bson::raw::cstr!("j"), deep);
    decoder.push(&document);
    // A text that is no UTF-8, and a length that reaches beyond the end.
    for damaged in [&b"\x0e\0\0\0\x02a\0\x02\0\0\0\xff\0\0"[..], &b"\x0f\0\0\0\x02a\0\xff\0\0\0x\0\0\0"[..]] {
        decoder.push(RawDocument::from_bytes(damaged).unwrap());
    }
    let (batch, refused) = decoder.finish().unwrap();
    assert_eq!(batch.num_rows(), 0);
    let codes: Vec<_> = refused.iter().map(|refused| refused.code).collect();
    assert_eq!(codes, ["repeated_field", "too_deep", "bad_bson", "bad_bson"]);
    let columns: Vec<_> = refused.iter().map(|refused| refused.document.schema().field(0).name().clone()).collect();
    assert_eq!(columns, ["document", "bson", "bson", "bson"]);
}
