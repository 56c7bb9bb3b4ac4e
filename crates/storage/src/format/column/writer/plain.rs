//! Record batches of columns of fixed width without nulls, which are most bytes of most collections, straight from the arrays
//! they were pushed in.
//!
//! Arrow's own writer wants one array, so the parts of a batch would be copied into one first: 25 MB of fresh memory for
//! 16,384 vectors, which costs more than encoding them. What is written is the same, to the byte.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::Buffer;
use arrow_ipc::{Buffer as BufferPlace, FieldNode, MessageBuilder, MessageHeader, MetadataVersion, RecordBatchBuilder};
use arrow_schema::DataType;
use flatbuffers::FlatBufferBuilder;

use super::super::{BODY_ALIGNMENT, CONTINUATION};

/// The values of each array; none if there is one that has more to it than its values.
pub(super) fn values_of(arrays: &[ArrayRef]) -> Option<Vec<Buffer>> {
    arrays.iter().map(|array| values(array)).collect()
}

fn values(array: &dyn Array) -> Option<Buffer> {
    if array.null_count() > 0 {
        return None;
    }
    match array.data_type() {
        DataType::FixedSizeList(..) => values(array.as_fixed_size_list().values()),
        data_type => {
            let bytes = data_type.primitive_width()?.checked_mul(array.len())?;
            let data = array.to_data();
            let buffer = data.buffers().first().filter(|buffer| data.offset() == 0 && buffer.len() >= bytes)?;
            Some(buffer.slice_with_length(0, bytes))
        }
    }
}

/// A batch in the parts it is written in: the message, the values of each array, the padding.
pub(super) struct PlainBatch<'v> {
    message: Vec<u8>,
    values: &'v [Buffer],
    padding: usize,
}

impl<'v> PlainBatch<'v> {
    /// A batch of `rows` rows of type `data_type`, to be written where it starts at a multiple of [`BODY_ALIGNMENT`].
    pub(super) fn new(data_type: &DataType, rows: usize, values: &'v [Buffer]) -> Self {
        let bytes: usize = values.iter().map(Buffer::len).sum();
        let body_len = bytes.next_multiple_of(BODY_ALIGNMENT);
        let flatbuffer = flatbuffer(data_type, rows, bytes, body_len);
        let message_len = (CONTINUATION.len() + 4 + flatbuffer.len()).next_multiple_of(BODY_ALIGNMENT);
        let mut message = Vec::with_capacity(message_len);
        message.extend_from_slice(&CONTINUATION);
        message.extend_from_slice(&((message_len - CONTINUATION.len() - 4) as u32).to_le_bytes());
        message.extend_from_slice(&flatbuffer);
        message.resize(message_len, 0);
        Self { message, values, padding: body_len - bytes }
    }

    /// Bytes of the message.
    pub(super) fn message_len(&self) -> usize {
        self.message.len()
    }

    /// Bytes of the body.
    pub(super) fn body_len(&self) -> usize {
        self.values.iter().map(Buffer::len).sum::<usize>() + self.padding
    }

    /// Its bytes, in order.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        const ZEROS: [u8; BODY_ALIGNMENT] = [0; BODY_ALIGNMENT];
        let values = self.values.iter().map(Buffer::as_slice);
        std::iter::once(&self.message[..]).chain(values).chain(std::iter::once(&ZEROS[..self.padding]))
    }
}

/// The flatbuffer of the message.
fn flatbuffer(data_type: &DataType, rows: usize, bytes: usize, body_len: usize) -> Vec<u8> {
    // Of each level the number of values, of which none is null, and a bitmap of those that are, of no bytes.
    let (mut nodes, mut places) = (vec![FieldNode::new(rows as i64, 0)], vec![BufferPlace::new(0, 0)]);
    let (mut level, mut length) = (data_type, rows);
    while let DataType::FixedSizeList(item, size) = level {
        (level, length) = (item.data_type(), length * (*size).max(0) as usize);
        nodes.push(FieldNode::new(length as i64, 0));
        places.push(BufferPlace::new(0, 0));
    }
    places.push(BufferPlace::new(0, bytes as i64));
    let mut builder = FlatBufferBuilder::new();
    let places = builder.create_vector(&places);
    let nodes = builder.create_vector(&nodes);
    let mut batch = RecordBatchBuilder::new(&mut builder);
    batch.add_length(rows as i64);
    batch.add_nodes(nodes);
    batch.add_buffers(places);
    let batch = batch.finish();
    let mut message = MessageBuilder::new(&mut builder);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::RecordBatch);
    message.add_bodyLength(body_len as i64);
    message.add_header(batch.as_union_value());
    let message = message.finish();
    builder.finish(message, None);
    builder.finished_data().to_vec()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Float32Type;
    use arrow_array::{BooleanArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray};
    use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
    use arrow_schema::{Field, Schema};

    use super::*;

    /// Checks that a batch of the arrays is what Arrow writes.
    fn check(arrays: &[ArrayRef]) {
        let data_type = arrays[0].data_type().clone();
        let schema = Arc::new(Schema::new(vec![Field::new("f", data_type.clone(), true)]));
        let parts: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
        let whole = arrow_select::concat::concat(&parts).unwrap();
        let rows = whole.len();
        let mut arrow = StreamWriter::try_new_with_options(Vec::new(), &schema, IpcWriteOptions::default()).unwrap();
        arrow.get_mut().clear();
        arrow.write(&RecordBatch::try_new(schema, vec![whole]).unwrap()).unwrap();
        let values = values_of(arrays).unwrap();
        let batch = PlainBatch::new(&data_type, rows, &values);
        let ours: Vec<u8> = batch.parts().flatten().copied().collect();
        assert_eq!(&ours, arrow.get_ref(), "{data_type} {rows}");
        assert_eq!(batch.message_len() + batch.body_len(), ours.len());
    }

    fn vectors(count: usize) -> ArrayRef {
        let rows = (0..count).map(|row| Some((0..3).map(move |at| Some((row * 3 + at) as f32))));
        Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, 3))
    }

    #[test]
    fn it_is_what_arrow_writes() {
        for counts in [&[0][..], &[1], &[5, 0, 12], &[100, 1_000]] {
            let ints = counts.iter().map(|count| Arc::new((0..*count as i64).collect::<Int64Array>()) as ArrayRef);
            check(&ints.collect::<Vec<_>>());
            let floats = counts.iter().map(|count| Arc::new(Float32Array::from(vec![1.5; *count])) as ArrayRef);
            check(&floats.collect::<Vec<_>>());
            check(&counts.iter().map(|count| vectors(*count)).collect::<Vec<_>>());
        }
        check(&[vectors(10).slice(3, 4), vectors(9).slice(1, 1)]);
        check(&[Arc::new((0..50).collect::<Int64Array>().slice(7, 20))]);
        // A bitmap without a null in it is left out.
        let present: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]).slice(2, 1));
        assert!(present.nulls().is_some());
        check(&[present]);
    }

    #[test]
    fn what_has_more_to_it_is_left_to_arrow() {
        let arrays: [ArrayRef; 3] = [
            Arc::new(Int64Array::from(vec![Some(1), None])),
            Arc::new(BooleanArray::from(vec![true])),
            Arc::new(StringArray::from(vec!["a"])),
        ];
        for array in arrays {
            assert!(values_of(&[array]).is_none());
        }
    }
}
