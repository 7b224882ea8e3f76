//! Record batches across the border, in both directions.
//!
//! [`export`] turns an iterator into an Arrow C stream; [`Reader`] reads one.
//! Both keep what the Arrow interface cannot carry: the kind of an error goes
//! around the stream (see `last_error` in `plugin.h`), and only "cancelled" has
//! a number of its own.

use std::sync::Arc;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{RecordBatch, RecordBatchReader, StructArray};
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};

use crate::{Error, ErrorKind, Result};

/// What `get_next` answers when the stream was asked to stop: ECANCELED.
pub const CANCELLED: i32 = 125;

/// Rows on their way: a schema and an iterator of batches that have it.
pub struct Batches {
    schema: SchemaRef,
    iterator: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
}

impl Batches {
    /// Rows of `schema` from an iterator.
    pub fn new(schema: SchemaRef, iterator: impl Iterator<Item = Result<RecordBatch>> + Send + 'static) -> Self {
        Self { schema, iterator: Box::new(iterator) }
    }

    /// No rows.
    pub fn empty(schema: SchemaRef) -> Self {
        Self::new(schema, std::iter::empty())
    }

    /// One batch.
    pub fn once(batch: RecordBatch) -> Self {
        Self::new(batch.schema(), std::iter::once(Ok(batch)))
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.iterator.next()
    }
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Turns batches into an Arrow C stream. Whoever answers for the stream keeps
/// the error's kind by wrapping the iterator; the stream itself carries the text.
pub fn export(batches: Batches) -> FFI_ArrowArrayStream {
    struct Exported(Batches);

    impl Iterator for Exported {
        type Item = Result<RecordBatch, ArrowError>;

        fn next(&mut self) -> Option<Self::Item> {
            Some(self.0.next()?.map_err(|error| match error.kind {
                // Arrow turns an I/O error into EIO, everything else into EINVAL;
                // MemoryError is the one spare number (ENOMEM) and stands for "cancelled".
                ErrorKind::Cancelled => ArrowError::MemoryError(error.message),
                _ => ArrowError::ExternalError(Box::new(error)),
            }))
        }
    }

    impl RecordBatchReader for Exported {
        fn schema(&self) -> SchemaRef {
            self.0.schema()
        }
    }

    let mut stream = FFI_ArrowArrayStream::new(Box::new(Exported(batches)));
    if let Some(inner) = stream.get_next.replace(next_with_cancelled) {
        debug_assert_eq!(inner as usize, arrow_get_next() as usize);
    }
    stream
}

type GetNext = unsafe extern "C" fn(*mut FFI_ArrowArrayStream, *mut FFI_ArrowArray) -> i32;

/// Arrow's own `get_next`, taken from an empty stream once.
fn arrow_get_next() -> GetNext {
    static GET_NEXT: std::sync::OnceLock<GetNext> = std::sync::OnceLock::new();
    *GET_NEXT.get_or_init(|| {
        let empty = arrow_array::RecordBatchIterator::new(std::iter::empty(), Arc::new(Schema::empty()));
        FFI_ArrowArrayStream::new(Box::new(empty)).get_next.expect("arrow exports get_next")
    })
}

unsafe extern "C" fn next_with_cancelled(stream: *mut FFI_ArrowArrayStream, out: *mut FFI_ArrowArray) -> i32 {
    const ENOMEM: i32 = 12;
    // SAFETY: the stream was made by arrow with exactly this function; the
    // arguments are passed on as they came.
    match unsafe { arrow_get_next()(stream, out) } {
        ENOMEM => CANCELLED,
        code => code,
    }
}

/// Why a stream ended early: the number and the text that Arrow carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// As `get_next` or `get_schema` answered; [`CANCELLED`] or anything but 0.
    pub code: i32,
    /// As the stream's own `get_last_error` said, which may be nothing.
    pub message: String,
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        if fault.code == CANCELLED { Self::cancelled() } else { Self::internal(fault.message) }
    }
}

/// Reads an Arrow C stream that somebody else made.
pub struct Reader {
    stream: FFI_ArrowArrayStream,
    schema: SchemaRef,
    row: DataType,
    validate: bool,
    ended: bool,
}

impl Reader {
    /// Takes the stream over and asks for its schema.
    ///
    /// `validate`: check every batch against the schema completely (offsets,
    /// UTF-8, nulls), for streams of a maker who could have it wrong.
    pub fn new(mut stream: FFI_ArrowArrayStream, validate: bool) -> Result<Self, Fault> {
        let Some(get_schema) = stream.get_schema.filter(|_| stream.release.is_some()) else {
            return Err(Fault { code: -1, message: "the stream was not filled in".into() });
        };
        let mut schema = FFI_ArrowSchema::empty();
        // SAFETY: an unreleased stream's get_schema takes the stream and a place for the schema.
        let code = unsafe { get_schema(&raw mut stream, &raw mut schema) };
        if code != 0 {
            let message = last_message(&mut stream);
            return Err(Fault { code, message });
        }
        let schema = Schema::try_from(&schema)
            .map_err(|error| Fault { code: -1, message: format!("the stream's schema cannot be read: {error}") })?;
        let row = DataType::Struct(schema.fields().clone());
        Ok(Self { stream, schema: Arc::new(schema), row, validate, ended: false })
    }

    /// The columns of every batch.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn pull(&mut self) -> Result<Option<RecordBatch>, Fault> {
        let get_next = self.stream.get_next.expect("checked by the schema call: the stream is not released");
        let mut array = FFI_ArrowArray::empty();
        // SAFETY: an unreleased stream's get_next takes the stream and a place for the array.
        let code = unsafe { get_next(&raw mut self.stream, &raw mut array) };
        if code != 0 {
            return Err(Fault { code, message: last_message(&mut self.stream) });
        }
        if array.is_released() {
            return Ok(None);
        }
        import_rows(array, &self.row, &self.schema, self.validate).map(Some)
    }
}

/// Turns one struct array into a batch, checked against what was announced.
fn import_rows(
    array: FFI_ArrowArray,
    row: &DataType,
    schema: &SchemaRef,
    validate: bool,
) -> Result<RecordBatch, Fault> {
    let wrong =
        |what: String| Fault { code: -1, message: format!("a batch does not fit the announced schema: {what}") };
    if array.num_children() != schema.fields().len() {
        return Err(wrong(format!("{} columns instead of {}", array.num_children(), schema.fields().len())));
    }
    for (at, field) in schema.fields().iter().enumerate() {
        let (found, expected) = (array.child(at).num_buffers(), expected_buffers(field.data_type()));
        if expected.is_some_and(|expected| expected != found) {
            return Err(wrong(format!(
                "column `{}` is announced as {} but comes with {found} buffers",
                field.name(),
                field.data_type()
            )));
        }
    }
    // SAFETY: the array came from get_next of a stream that announced this type;
    // the counts were checked above, the contents are checked below on request.
    let mut data = unsafe { from_ffi_and_data_type(array, row.clone()) }.map_err(|error| wrong(error.to_string()))?;
    data.align_buffers();
    for (field, column) in schema.fields().iter().zip(data.child_data()) {
        if !field.is_nullable() && column.null_count() > 0 {
            let nulls = column.null_count();
            return Err(wrong(format!("column `{}` may not be null but has {nulls} nulls", field.name())));
        }
    }
    if validate {
        data.validate_full().map_err(|error| wrong(error.to_string()))?;
    }
    let rows = StructArray::from(data);
    let count = arrow_array::RecordBatchOptions::new().with_row_count(Some(arrow_array::Array::len(&rows)));
    RecordBatch::try_new_with_options(Arc::clone(schema), rows.columns().to_vec(), &count)
        .map_err(|error| wrong(error.to_string()))
}

/// How many buffers a column of a type has without its children, where it is fixed.
pub(crate) fn expected_buffers(kind: &DataType) -> Option<usize> {
    use DataType as T;
    match kind {
        T::Null => Some(0),
        T::Struct(_) | T::FixedSizeList(..) => Some(1),
        T::Utf8 | T::Binary | T::LargeUtf8 | T::LargeBinary | T::ListView(_) | T::LargeListView(_) => Some(3),
        T::Utf8View | T::BinaryView | T::Union(..) | T::RunEndEncoded(..) => None,
        _ => Some(2),
    }
}

fn last_message(stream: &mut FFI_ArrowArrayStream) -> String {
    let Some(get_last_error) = stream.get_last_error else { return String::new() };
    // SAFETY: an unreleased stream's get_last_error takes the stream; what it
    // answers is NULL or a text that stays until the next call.
    unsafe {
        let text = get_last_error(std::ptr::from_mut(stream));
        if text.is_null() { String::new() } else { std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned() }
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.pull().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

/// A copy of an array's struct that may be imported while its owner keeps it:
/// releasing it does nothing.
///
/// # Safety
/// The result must be dropped before the array that it was made from.
pub unsafe fn borrow_array(array: &FFI_ArrowArray) -> FFI_ArrowArray {
    unsafe extern "C" fn keep(array: *mut FFI_ArrowArray) {
        // SAFETY: the consumer hands in its own struct; a released array has a null `release`,
        // which is the last but one of its pointers.
        unsafe {
            let words = array.cast::<*mut std::ffi::c_void>();
            *words.add(RELEASE_WORD) = std::ptr::null_mut();
        }
    }
    /// 5 lengths, 3 pointers, then `release`: see `struct ArrowArray`.
    const RELEASE_WORD: usize = 5 * size_of::<i64>() / size_of::<usize>() + 3;
    let mut copy = std::mem::MaybeUninit::<FFI_ArrowArray>::uninit();
    // SAFETY: a bitwise copy of a C struct whose release is replaced right away
    // (it is pointer-sized, at the place that the C layout gives).
    unsafe {
        std::ptr::copy_nonoverlapping(std::ptr::from_ref(array), copy.as_mut_ptr(), 1);
        let words = copy.as_mut_ptr().cast::<*mut std::ffi::c_void>();
        *words.add(RELEASE_WORD) = keep as *mut std::ffi::c_void;
        copy.assume_init()
    }
}

/// Copies borrowed rows into a batch of our own.
///
/// # Safety
/// Both must be valid for the call, and `array` of the type that `schema` says.
pub unsafe fn copy_rows(array: &FFI_ArrowArray, schema: &FFI_ArrowSchema) -> Result<RecordBatch, Fault> {
    let schema = Schema::try_from(schema).map_err(|error| Fault { code: -1, message: error.to_string() })?;
    let row = DataType::Struct(schema.fields().clone());
    let schema = Arc::new(schema);
    // SAFETY: the borrowed copy is gone when this function ends; `take` below copies the data.
    let borrowed = import_rows(unsafe { borrow_array(array) }, &row, &schema, true)?;
    let unreadable = |error: ArrowError| Fault { code: -1, message: error.to_string() };
    let columns = borrowed.columns().iter().map(|column| deep_copy(column.as_ref())).collect::<Result<Vec<_>, _>>();
    let columns = columns.map_err(unreadable)?;
    let count = arrow_array::RecordBatchOptions::new().with_row_count(Some(borrowed.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &count).map_err(unreadable)
}

fn deep_copy(column: &dyn arrow_array::Array) -> Result<arrow_array::ArrayRef, ArrowError> {
    let data = column.to_data();
    let mut copy = arrow_data::transform::MutableArrayData::new(vec![&data], false, data.len());
    copy.try_extend(0, 0, data.len())?;
    Ok(arrow_array::make_array(copy.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Array, Int32Array, Int64Array, StringArray};
    use arrow_schema::Field;

    fn schema(nullable: bool) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, nullable)]))
    }

    fn batch(values: Vec<Option<i32>>) -> RecordBatch {
        RecordBatch::try_new(schema(true), vec![Arc::new(Int32Array::from(values))]).unwrap()
    }

    #[test]
    fn batches_come_back_as_they_went() {
        let sent = vec![batch(vec![Some(1), None]), batch(vec![]), batch(vec![Some(3)])];
        let stream = export(Batches::new(schema(true), sent.clone().into_iter().map(Ok)));
        let reader = Reader::new(stream, true).unwrap();
        assert_eq!(reader.schema(), schema(true));
        assert_eq!(reader.map(Result::unwrap).collect::<Vec<_>>(), sent);
    }

    #[test]
    fn an_error_ends_the_stream_with_its_text_and_cancelled_has_its_own_number() {
        for (error, code) in [(Error::unavailable("gone"), 22), (Error::cancelled(), CANCELLED)] {
            let items = vec![Ok(batch(vec![Some(1)])), Err(error.clone()), Ok(batch(vec![Some(2)]))];
            let mut reader = Reader::new(export(Batches::new(schema(true), items.into_iter())), true).unwrap();
            assert!(reader.next().unwrap().is_ok());
            let fault = reader.next().unwrap().unwrap_err();
            assert_eq!(fault.code, code);
            assert!(fault.message.contains(&error.message), "{}", fault.message);
            assert!(reader.next().is_none());
        }
    }

    #[test]
    fn a_batch_that_is_not_what_the_schema_announced_is_refused() {
        let texts = StringArray::from(vec!["a", "b"]);
        let other = Arc::new(Schema::new(vec![Field::new("n", DataType::Utf8, false)]));
        let other = RecordBatch::try_new(other, vec![Arc::new(texts)]).unwrap();
        let stream = export(Batches::new(schema(true), std::iter::once(Ok(other))));
        let fault = Reader::new(stream, true).unwrap().next().unwrap().unwrap_err();
        assert!(fault.message.contains("column `n` is announced as Int32 but comes with 3 buffers"), "{fault:?}");

        let stream = export(Batches::new(schema(false), std::iter::once(Ok(batch(vec![None])))));
        let fault = Reader::new(stream, true).unwrap().next().unwrap().unwrap_err();
        assert!(fault.message.contains("may not be null"), "{fault:?}");

        let two =
            Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, true), Field::new("m", DataType::Int64, true)]));
        let columns: Vec<arrow_array::ArrayRef> =
            vec![Arc::new(Int32Array::from(vec![1])), Arc::new(Int64Array::from(vec![1]))];
        let two = RecordBatch::try_new(two, columns).unwrap();
        let stream = export(Batches::new(schema(true), std::iter::once(Ok(two))));
        let fault = Reader::new(stream, true).unwrap().next().unwrap().unwrap_err();
        assert!(fault.message.contains("2 columns instead of 1"), "{fault:?}");
    }

    #[test]
    fn borrowed_rows_are_copied_and_stay_with_their_owner() {
        let rows = StructArray::from(batch(vec![Some(1), Some(2), Some(3)]).slice(1, 1));
        let (array, schema) = arrow_array::ffi::to_ffi(&rows.to_data()).unwrap();
        // SAFETY: both live to the end of the test and describe each other.
        let copy = unsafe { copy_rows(&array, &schema) }.unwrap();
        assert_eq!(copy, batch(vec![Some(2)]));
        drop(array);
        assert_eq!(copy, batch(vec![Some(2)]));
    }
}
