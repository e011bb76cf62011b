//! A model that phones have, from which learning goes on.

use std::collections::BTreeMap;
use std::io::Cursor;

use candle_core::Device;
use candle_core::quantized::gguf_file::Content;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use inference::encode::Encoder;
use inference::model::TriageModel;
use inference::rules::RulePack;
use protocol::Digest;

use crate::learn::{Course, Fail, Plan};
use crate::net::{Net, Shape};
use crate::patients::World;
use crate::reads;

/// A model that phones have, to be taught more.
pub struct Base {
    /// The file.
    pub file: Vec<u8>,
    /// The model as phones run it.
    pub model: TriageModel,
    /// Its digest, in hexadecimal.
    pub digest: String,
}

impl Base {
    /// A model file.
    ///
    /// # Errors
    /// What is no model.
    pub fn new(file: Vec<u8>) -> Result<Self, Fail> {
        let model = TriageModel::load("base", &file)?;
        let digest = Digest::of(&file).to_string();
        Ok(Self {
            file,
            model,
            digest,
        })
    }

    /// The shape of a network with this one's weights that reads as `encoder` does, into so many labels.
    pub(crate) fn shape(&self, encoder: &Encoder, labels: usize) -> Shape {
        let shape = self.model.network().shape();
        Shape {
            slots: shape.slots,
            width: shape.width,
            heads: shape.heads,
            inner: shape.inner,
            layers: shape.layers,
            labels,
            features: encoder.features().len(),
            pieces: encoder.pieces(),
        }
    }

    /// A course that goes on from it, among the usual patients, and reads also what the pack has come to ask
    /// since.
    ///
    /// # Errors
    /// Where it has another size than the plan's.
    pub fn begin(&self, plan: Plan, pack: &RulePack) -> Result<(Course, Net), Fail> {
        let read = self.model.encoder();
        let mut more = reads::features(pack);
        more.retain(|feature| !read.features().contains(feature));
        let course = Course::with(plan, read.with(&more), World::LEARNING);
        let (shape, own) = (course.shape(), self.model.network().shape());
        if (shape.width, shape.layers, shape.inner) != (own.width, own.layers, own.inner) {
            return Err(format!(
                "the model to go on from has {} layers of width {}: --layers and --width must say so too",
                own.layers, own.width
            )
            .into());
        }
        let net = self.net(shape, plan.seed)?;
        Ok((course, net))
    }

    /// Its weights as they run, as numbers that can learn; what it does not read or say is new.
    pub(crate) fn net(&self, shape: Shape, seed: u64) -> Result<Net, Fail> {
        let mut net = Net::new(shape, &mut ChaCha8Rng::seed_from_u64(seed))?;
        let mut reader = Cursor::new(self.file.as_slice());
        let content = Content::read(&mut reader)?;
        let mut read = BTreeMap::new();
        for name in content.tensor_infos.keys() {
            let tensor = content.tensor(&mut reader, name, &Device::Cpu)?;
            read.insert(name.clone(), tensor.dequantize(&Device::Cpu)?);
        }
        if let Some(features) = read.remove("features.weight") {
            let more = shape.features.saturating_sub(features.dim(0)?);
            let features = features.pad_with_zeros(0, 0, more)?;
            read.insert("features.weight".into(), features);
        }
        if shape.labels != self.model.labels().len() {
            // A head for other labels begins anew.
            for (name, own) in net.tensors()? {
                if name.starts_with("differential.") {
                    read.insert(name, own.copy()?);
                }
            }
        }
        net.restore(|name| read.remove(name))?;
        Ok(net)
    }
}
