//! Rows as the pieces of an Arrow IPC stream, for where memory is not shared.
//!
//! The first piece is the schema's message; each further one holds one batch,
//! with the dictionaries that it needs in front of it. Joined, they are a stream
//! as Arrow specifies it, but for its end mark.

use std::collections::HashMap;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};

use crate::stream::expected_buffers;
use crate::{Error, Result};

/// Writes batches of one schema.
pub struct Encoder {
    writer: StreamWriter<Vec<u8>>,
    last_bytes: usize,
}

impl Encoder {
    /// An encoder, and the schema's piece.
    pub fn new(schema: &Schema) -> Result<(Self, Vec<u8>)> {
        let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
        let piece = std::mem::take(writer.get_mut());
        Ok((Self { writer, last_bytes: 0 }, piece))
    }

    /// A batch's piece.
    pub fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        // Batches of a stream are of one size, more or less: the buffer rarely has to grow.
        self.writer.get_mut().reserve(self.last_bytes + self.last_bytes / 8);
        self.writer.write(batch)?;
        let piece = std::mem::take(self.writer.get_mut());
        self.last_bytes = piece.len();
        Ok(piece)
    }
}

/// Rows of one batch. Columns of nulls, or of one value many times, take no bytes: a small piece could
/// stand for more rows than anybody lives to see.
const MAX_ROWS: i64 = 16 << 20;

/// Reads pieces that somebody else wrote; their contents are checked.
pub struct Decoder {
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
}

impl Decoder {
    /// Begins with the schema's piece.
    pub fn new(piece: impl Into<Buffer>) -> Result<Self> {
        let mut piece = piece.into();
        let (schema, rest) = match Message::take(&mut piece)? {
            Some(message) => (message.schema()?, piece.len()),
            None => return Err(Error::internal("a stream does not begin with its schema")),
        };
        if rest > 0 {
            return Err(Error::internal(format!("{rest} bytes follow the schema of a stream")));
        }
        Ok(Self { schema, dictionaries: HashMap::new() })
    }

    /// The columns of every batch.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// The batch of one piece.
    pub fn batch(&mut self, piece: impl Into<Buffer>) -> Result<RecordBatch> {
        let mut piece = piece.into();
        let batch = self.next(&mut piece)?.ok_or_else(|| Error::internal("a piece of a stream holds no batch"))?;
        if !piece.is_empty() {
            return Err(Error::internal(format!("{} bytes follow a batch in its piece", piece.len())));
        }
        Ok(batch)
    }

    /// Reads up to the next batch.
    fn next(&mut self, stream: &mut Buffer) -> Result<Option<RecordBatch>> {
        while let Some(message) = Message::take(stream)? {
            let head = message.head()?;
            let version = head.version();
            if let Some(dictionary) = head.header_as_dictionary_batch() {
                if dictionary.isDelta() {
                    // Each would be kept for the whole stream, in memory that nobody counts.
                    return Err(Error::internal("a stream adds to a dictionary, instead of sending it anew"));
                }
                read_dictionary(&message.body, dictionary, &self.schema, &mut self.dictionaries, &version)
                    .map_err(unreadable)?;
            } else if let Some(batch) = head.header_as_record_batch() {
                let (found, announced) = (batch.buffers().map_or(0, |buffers| buffers.len()), buffers(&self.schema));
                if announced.is_some_and(|announced| announced != found) {
                    return Err(Error::internal(format!(
                        "a batch has {found} buffers, where the columns that were announced have {}",
                        announced.unwrap_or_default()
                    )));
                }
                if batch.length() > MAX_ROWS {
                    return Err(Error::internal(format!("a batch has {} rows, more than {MAX_ROWS}", batch.length())));
                }
                let schema = SchemaRef::clone(&self.schema);
                let batch = read_record_batch(&message.body, batch, schema, &self.dictionaries, None, &version);
                return batch.map(Some).map_err(unreadable);
            } else {
                return Err(Error::internal(format!("a stream holds a message of type {:?}", head.header_type())));
            }
        }
        Ok(None)
    }
}

/// How many buffers a batch of these columns has, where that is fixed. A reader
/// would take the bytes of another type for values of this one.
fn buffers(schema: &Schema) -> Option<usize> {
    fn of(kind: &DataType) -> Option<usize> {
        use DataType as T;
        let inside = match kind {
            T::Struct(fields) => fields.iter().map(|field| of(field.data_type())).sum::<Option<usize>>()?,
            T::FixedSizeList(field, _) | T::List(field) | T::LargeList(field) | T::Map(field, _) => {
                of(field.data_type())?
            }
            T::ListView(field) | T::LargeListView(field) => of(field.data_type())?,
            _ => 0,
        };
        Some(expected_buffers(kind)? + inside)
    }
    schema.fields().iter().map(|field| of(field.data_type())).sum()
}

/// One message of a stream, taken apart without a copy.
struct Message {
    head: Buffer,
    body: Buffer,
}

impl Message {
    /// The next message; none at the end, or at the end mark.
    fn take(stream: &mut Buffer) -> Result<Option<Self>> {
        const CONTINUATION: [u8; 4] = [0xff; 4];
        if stream.is_empty() {
            return Ok(None);
        }
        let cut = || Error::internal("what should be Arrow IPC ends within a message");
        let (mark, length) = stream.first_chunk::<8>().ok_or_else(cut)?.split_at(4);
        if mark != CONTINUATION {
            return Err(Error::internal("what should be Arrow IPC does not begin with a message"));
        }
        let head_length = u32::from_le_bytes(length.try_into().map_err(|_| cut())?) as usize;
        stream.advance(8);
        if head_length == 0 {
            return Ok(None);
        }
        let head = Self::split(stream, head_length).ok_or_else(cut)?;
        let mut message = Self { head, body: Buffer::default() };
        let body_length = usize::try_from(message.head()?.bodyLength()).map_err(|_| cut())?;
        message.body = Self::split(stream, body_length).ok_or_else(cut)?;
        Ok(Some(message))
    }

    fn split(stream: &mut Buffer, length: usize) -> Option<Buffer> {
        if stream.len() < length {
            return None;
        }
        let piece = stream.slice_with_length(0, length);
        stream.advance(length);
        Some(piece)
    }

    fn head(&self) -> Result<arrow_ipc::Message<'_>> {
        arrow_ipc::root_as_message(&self.head)
            .map_err(|error| Error::internal(format!("the head of an Arrow IPC message cannot be read: {error}")))
    }

    fn schema(&self) -> Result<SchemaRef> {
        let head = self.head()?;
        let schema =
            head.header_as_schema().ok_or_else(|| Error::internal("a stream does not begin with its schema"))?;
        Ok(SchemaRef::new(fb_to_schema(schema)))
    }
}

fn unreadable(error: ArrowError) -> Error {
    Error::internal(format!("what should be Arrow IPC cannot be read: {error}"))
}

/// One batch with its schema, as a whole stream.
pub fn whole(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
}

/// The batches of a whole stream.
pub fn read_whole(stream: impl Into<Buffer>) -> Result<Vec<RecordBatch>> {
    let mut stream = stream.into();
    let schema = Message::take(&mut stream)?.ok_or_else(|| Error::internal("a stream is empty"))?.schema()?;
    let mut decoder = Decoder { schema, dictionaries: HashMap::new() };
    std::iter::from_fn(|| decoder.next(&mut stream).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, DictionaryArray, Int64Array, StringArray, types::Int32Type};

    use arrow_schema::Field;

    use super::*;

    fn batch(words: &[&str]) -> RecordBatch {
        let texts: StringArray = words.iter().copied().map(Some).collect();
        let repeated: DictionaryArray<Int32Type> = words.iter().copied().collect();
        let numbers: Int64Array = words.iter().map(|word| (word.len() > 1).then_some(7)).collect();
        RecordBatch::try_from_iter_with_nullable([
            ("text", Arc::new(texts) as ArrayRef, false),
            ("repeated", Arc::new(repeated) as _, true),
            ("number", Arc::new(numbers) as _, true),
        ])
        .unwrap()
    }

    #[test]
    fn pieces_come_back_as_batches() {
        let sent = [batch(&["a", "bc", "a"]), batch(&[]), batch(&["other", "words"])];
        let (mut encoder, schema) = Encoder::new(&sent[0].schema()).unwrap();
        let mut decoder = Decoder::new(schema).unwrap();
        assert_eq!(decoder.schema(), sent[0].schema());
        for batch in &sent {
            assert_eq!(&decoder.batch(encoder.batch(batch).unwrap()).unwrap(), batch);
        }
    }

    #[test]
    fn a_batch_of_other_columns_is_refused() {
        let numbers = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
        let texts = RecordBatch::try_from_iter([("n", Arc::new(StringArray::from(vec!["one"])) as ArrayRef)]).unwrap();
        for (announced, sent) in [(&numbers, &texts), (&texts, &numbers)] {
            let (_, schema) = Encoder::new(&announced.schema()).unwrap();
            let piece = Encoder::new(&sent.schema()).unwrap().0.batch(sent).unwrap();
            let error = Decoder::new(schema).unwrap().batch(piece).unwrap_err();
            assert!(error.message.contains("buffers"), "{error}");
        }
    }

    #[test]
    fn a_whole_stream_comes_back() {
        let sent = batch(&["x", "yy"]);
        assert_eq!(read_whole(whole(&sent).unwrap()).unwrap(), vec![sent]);
    }

    #[test]
    fn damaged_pieces_are_errors() {
        let sent = batch(&["a", "bc"]);
        let (mut encoder, schema) = Encoder::new(&sent.schema()).unwrap();
        let piece = encoder.batch(&sent).unwrap();
        assert!(Decoder::new(piece.clone()).is_err(), "a batch is no schema");
        assert!(Decoder::new(Vec::<u8>::new()).is_err());
        for length in 0..piece.len() {
            let mut decoder = Decoder::new(schema.clone()).unwrap();
            assert!(decoder.batch(piece[..length].to_vec()).is_err(), "{length} of {} bytes", piece.len());
        }
        let mut decoder = Decoder::new(schema).unwrap();
        let twice = [piece.clone(), piece].concat();
        assert!(decoder.batch(twice).is_err(), "two batches in one piece");
    }

    #[test]
    fn a_batch_of_more_rows_than_anybody_reads_is_refused() {
        let nothing = |rows: usize| {
            let schema = Arc::new(Schema::new(vec![Field::new("nothing", DataType::Null, true)]));
            RecordBatch::try_new(schema, vec![arrow_array::new_null_array(&DataType::Null, rows)]).unwrap()
        };
        for (rows, taken) in [(MAX_ROWS as usize, true), (1 << 40, false)] {
            let sent = nothing(rows);
            let (mut encoder, schema) = Encoder::new(&sent.schema()).unwrap();
            let piece = encoder.batch(&sent).unwrap();
            assert!(piece.len() < 1024);
            assert_eq!(Decoder::new(schema).unwrap().batch(piece).is_ok(), taken, "{rows}");
        }
    }

    #[test]
    fn a_dictionary_that_grows_is_refused() {
        let sent = batch(&["a", "bc"]);
        let options = arrow_ipc::writer::IpcWriteOptions::default()
            .with_dictionary_handling(arrow_ipc::writer::DictionaryHandling::Delta);
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new_with_options(&mut bytes, &sent.schema(), options).unwrap();
        let words = |words: &[&str]| {
            let values: ArrayRef = Arc::new(words.iter().copied().map(Some).collect::<StringArray>());
            let keys = arrow_array::Int32Array::from(vec![0, 1]);
            let repeated = DictionaryArray::<Int32Type>::try_new(keys, values).unwrap();
            let columns = vec![Arc::clone(sent.column(0)), Arc::new(repeated) as _, Arc::clone(sent.column(2))];
            RecordBatch::try_new(sent.schema(), columns).unwrap()
        };
        writer.write(&words(&["a", "b"])).unwrap();
        writer.write(&words(&["a", "b", "c"])).unwrap();
        writer.finish().unwrap();
        drop(writer);
        let error = read_whole(bytes).unwrap_err();
        assert!(error.message.contains("dictionary"), "{error}");
    }
}
