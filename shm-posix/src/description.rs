//! What a segment says of its channel, for whoever was not compiled for it.

use crate::channel_type::ChannelType;
use crate::error::HeaderError;
use crate::fields::{self, DescribedField, FieldKind, FieldValue};
use crate::header::{Header, PAGE};
use lkas_core::{Layout, Plain, Scalar};

/// What a segment's header says of its channel.
///
/// # Examples
/// ```no_run
/// use lkas_shm::Description;
///
/// let segment = std::fs::read("/dev/shm/vehicle_control")?;
/// let channel = Description::parse(&segment, segment.len() as u64)?;
/// println!("{} for {} readers", channel.type_name(), channel.layout().readers());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    channel_type: ChannelType,
    layout: Layout,
    fields: Vec<DescribedField>,
}

impl Description {
    /// Reads the header of a segment of `size` bytes from its first bytes, at least one page of 4096.
    ///
    /// Foreign bytes: everything is checked against everything else, and nothing makes it panic.
    ///
    /// # Errors
    /// [`HeaderError`] where they are no header of a channel that this library can read.
    pub fn parse(bytes: &[u8], size: u64) -> Result<Self, HeaderError> {
        let short = || HeaderError::Size { found: bytes.len() as u64, expected: PAGE as u64 };
        let header = bytes.get(..PAGE).and_then(Header::from_bytes).ok_or_else(short)?;
        let layout = header.layout(size)?;
        let fields = fields::read(header.fields(), layout.payload_size())?;
        Ok(Self { channel_type: header.channel_type(&layout, &fields), layout, fields })
    }

    /// What the channel carries, to create another one like it.
    #[must_use]
    pub fn channel_type(&self) -> &ChannelType {
        &self.channel_type
    }

    /// The type's name, with whatever can't be printed escaped.
    #[must_use]
    pub fn type_name(&self) -> &str {
        &self.channel_type.name
    }

    /// How many readers there can be, and the sizes of the channel's parts.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Four words whose meaning is the type's: what its values have in common beyond their size. All 0 where there is
    /// nothing to say.
    #[must_use]
    pub fn shape(&self) -> [u32; 4] {
        self.channel_type.shape
    }

    /// The type's fields.
    #[must_use]
    pub fn fields(&self) -> &[DescribedField] {
        &self.fields
    }

    /// Where a value says at which time it was so: the offset of its field `timestamp`, where that is one number in seconds.
    /// `None` also where a field `check` stands for all of the value, which would not fit any more if the time were moved.
    #[must_use]
    pub fn timestamp(&self) -> Option<usize> {
        let is_time = |field: &&DescribedField| {
            let is_single = field.count.is_none() && field.repeat.is_none();
            field.name == "timestamp" && field.unit == "s" && field.kind == FieldKind::Number(Scalar::F64) && is_single
        };
        let is_sealed = self.fields.iter().any(|field| field.name == "check");
        self.fields.iter().find(is_time).filter(|_| !is_sealed).map(|field| field.offset)
    }

    /// Each field's value in `payload`; `None` where a bit says that there is none, or where `payload` is too short.
    pub fn values<'a>(&'a self, payload: &'a [u8]) -> impl Iterator<Item = (&'a DescribedField, Option<FieldValue>)> {
        self.fields.iter().map(move |field| (field, field.read(payload)))
    }
}
