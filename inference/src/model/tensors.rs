//! The weights of a model file: each of the shape and type that the network's shape says, or refused.

use std::io::{Read, Seek};

use candle_core::Device;
use candle_core::quantized::gguf_file::Content;
use candle_core::quantized::{GgmlDType, QTensor};
use kernels::{Halves, Kind, Packed, Table};

use super::adapter::Form;
use super::{ModelError, malformed};
use crate::factors::{Factors, LowRank, LowRows};
use crate::layers::{Layer, Linear, Norm};
use crate::transformer::{Shape, Transformer};
use crate::vision;

/// The parts of a reader of pictures.
type Tower = (Vec<(Linear, Norm)>, Vec<f32>, Vec<Layer>, Norm, [Linear; 2]);

/// The tensors of a file, read one by one: the whole file is never in memory at once.
pub(crate) struct Tensors<'a, R> {
    pub(crate) content: &'a Content,
    pub(crate) reader: &'a mut R,
}

impl<R: Read + Seek> Tensors<'_, R> {
    /// A tensor of this shape; of any other, nothing is read.
    fn tensor(&mut self, name: &str, dims: &[usize]) -> Result<QTensor, ModelError> {
        let info = self.content.tensor_infos.get(name);
        let info = info.ok_or_else(|| malformed(format!("{name} is missing")))?;
        if info.shape.dims() != dims {
            return Err(malformed(format!("{name} has another shape")));
        }
        let tensor = self.content.tensor(self.reader, name, &Device::Cpu);
        tensor.map_err(malformed)
    }

    /// Numbers that are not quantized; all must be finite.
    fn numbers(&mut self, name: &str, dims: &[usize]) -> Result<Vec<f32>, ModelError> {
        self.numbers_of(name, dims, GgmlDType::F32)
    }

    /// Numbers that are stored as this type; all must be finite.
    fn numbers_of(
        &mut self,
        name: &str,
        dims: &[usize],
        stored: GgmlDType,
    ) -> Result<Vec<f32>, ModelError> {
        let tensor = self.tensor(name, dims)?;
        if tensor.dtype() != stored {
            return Err(malformed(format!("{name} has another type")));
        }
        let numbers = tensor
            .dequantize(&Device::Cpu)
            .and_then(|t| t.flatten_all()?.to_vec1());
        let numbers: Vec<f32> = numbers.map_err(malformed)?;
        match numbers.iter().all(|x| x.is_finite()) {
            true => Ok(numbers),
            false => Err(malformed(format!("{name} holds what is no number"))),
        }
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Packed, ModelError> {
        let tensor = self.tensor(name, &[rows, columns])?;
        const KINDS: [(GgmlDType, Kind); 3] = [
            (GgmlDType::Q4_0, Kind::Q4_0),
            (GgmlDType::Q8_0, Kind::Q8_0),
            (GgmlDType::Q4K, Kind::Q4K),
        ];
        let kind = KINDS.iter().find(|(dtype, _)| *dtype == tensor.dtype());
        let Some((_, kind)) = kind.copied() else {
            return Err(malformed(format!("{name} has another type")));
        };
        let bytes = tensor.data().map_err(malformed)?;
        Packed::new(kind, rows, columns, &bytes).map_err(|e| malformed(format!("{name}: {e}")))
    }

    /// A table of rows: quantized, or halves.
    fn table(&mut self, name: &str, rows: usize, columns: usize) -> Result<Table, ModelError> {
        let halves = (self.content.tensor_infos.get(name))
            .is_some_and(|info| info.ggml_dtype == GgmlDType::F16);
        if !halves {
            return self.matrix(name, rows, columns).map(Table::Packed);
        }
        let tensor = self.tensor(name, &[rows, columns])?;
        let bytes = tensor.data().map_err(malformed)?;
        let halves = Halves::new(rows, columns, &bytes);
        halves
            .map(Table::Halves)
            .map_err(|e| malformed(format!("{name}: {e}")))
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<Norm, ModelError> {
        Ok(Norm {
            weight: self.numbers(&format!("{name}.weight"), &[width])?,
            bias: self.numbers(&format!("{name}.bias"), &[width])?,
        })
    }

    fn linear(&mut self, name: &str, rows: usize, columns: usize) -> Result<Linear, ModelError> {
        Ok(Linear {
            weight: self.matrix(&format!("{name}.weight"), rows, columns)?,
            bias: self.numbers(&format!("{name}.bias"), &[rows])?,
        })
    }

    fn layers(
        &mut self,
        count: usize,
        width: usize,
        inner: usize,
    ) -> Result<Vec<Layer>, ModelError> {
        let mut layers = Vec::new();
        for at in 0..count {
            let name = |part: &str| format!("layers.{at}.{part}");
            layers.push(Layer {
                norms: [
                    self.norm(&name("norm1"), width)?,
                    self.norm(&name("norm2"), width)?,
                ],
                qkv: self.linear(&name("qkv"), 3 * width, width)?,
                out: self.linear(&name("out"), width, width)?,
                up: self.linear(&name("up"), inner, width)?,
                down: self.linear(&name("down"), width, inner)?,
            });
        }
        Ok(layers)
    }

    /// A reader of pictures, of this shape: patches, slots, layers, norm and heads.
    pub(crate) fn tower(
        &mut self,
        shape: &vision::Shape,
        [whats, readings]: [usize; 2],
    ) -> Result<Tower, ModelError> {
        let width = shape.width;
        if self.content.tensor_infos.len() != 4 * 4 + 1 + shape.layers * 12 + 2 + 4 {
            return Err(malformed("other tensors than this engine knows"));
        }
        let mut inputs = vision::CHANNELS;
        let mut halvings = Vec::new();
        for (at, outputs) in vision::channels(width).into_iter().enumerate() {
            let (name, numbers) = (format!("halvings.{at}"), vision::window_numbers(inputs));
            let product = self.linear(&name, outputs, numbers)?;
            halvings.push((product, self.norm(&format!("{name}.norm"), outputs)?));
            inputs = outputs;
        }
        Ok((
            halvings,
            self.numbers("slots.weight", &[vision::SLOTS, width])?,
            self.layers(shape.layers, width, shape.inner)?,
            self.norm("norm", width)?,
            [
                self.linear("what", whats, width)?,
                self.linear("readings", readings, width)?,
            ],
        ))
    }

    /// The network, of this shape, with so many rows of features, n-grams and word pieces.
    pub(super) fn network(
        &mut self,
        shape: Shape,
        [features, grams, pieces]: [usize; 3],
        labels: usize,
    ) -> Result<Transformer, ModelError> {
        let (width, inner) = (shape.width, shape.inner);
        if self.content.tensor_infos.len() != 4 + shape.layers * 12 + 2 + 4 {
            return Err(malformed("other tensors than this engine knows"));
        }
        let tables = [
            self.table("features.weight", features, width)?,
            self.table("grams.weight", grams, width)?,
            self.table("pieces.weight", pieces, width)?,
        ];
        let known = known_rows(&tables[1]);
        let layers = self.layers(shape.layers, width, inner)?;
        Ok(Transformer {
            shape,
            slots: self.numbers("slots.weight", &[shape.slots, width])?,
            tables,
            layers,
            norm: self.norm("norm", width)?,
            heads: [
                self.linear("differential", labels, width)?,
                self.linear("urgency", 3, width)?,
            ],
            known,
        })
    }
}

impl<R: Read + Seek> Tensors<'_, R> {
    /// What stands beside a network, of this form.
    pub(super) fn factors(
        &mut self,
        form: &Form,
        rows: Vec<Vec<usize>>,
        labels: usize,
    ) -> Result<Factors, ModelError> {
        let Form {
            shape,
            rank,
            row_rank,
            ..
        } = form;
        let (width, inner) = (shape.width, shape.inner);
        let count: usize = rows.iter().map(Vec::len).sum();
        let own = shape.layers * 8 + 1 + 4;
        let expected = own + usize::from(count > 0);
        if self.content.tensor_infos.len() != expected {
            return Err(malformed("other tensors than this engine knows"));
        }
        let mut layers = Vec::new();
        for at in 0..shape.layers {
            let mut low = |part: &str, inputs, outputs| {
                let name = |which: &str| format!("layers.{at}.{part}.{which}");
                Ok::<_, ModelError>(LowRank {
                    down: self.numbers_of(&name("down"), &[*rank, inputs], GgmlDType::Q8_0)?,
                    up: self.numbers_of(&name("up"), &[*rank, outputs], GgmlDType::Q8_0)?,
                    inputs,
                    outputs,
                })
            };
            layers.push([
                low("qkv", width, 3 * width)?,
                low("out", width, width)?,
                low("up", width, inner)?,
                low("down", inner, width)?,
            ]);
        }
        // One behind the other, in blocks of 32 that share a scale; the last is filled with zeros.
        let blocks = (count * row_rank).div_ceil(32);
        let coefficients = match count {
            0 => Vec::new(),
            _ => self.numbers_of("rows.coefficients", &[blocks, 32], GgmlDType::Q8_0)?,
        };
        let mut from = 0..;
        let mut numbered = rows.into_iter().map(|rows| {
            let begin = |row| (row, from.next().unwrap_or_default() * row_rank);
            rows.into_iter().map(begin).collect()
        });
        let rows = std::array::from_fn(|_| numbered.next().unwrap_or_default());
        Ok(Factors {
            layers,
            rows: LowRows {
                rows,
                coefficients,
                up: self.numbers_of("rows.up", &[*row_rank, width], GgmlDType::Q8_0)?,
                rank: *row_rank,
                width,
            },
            heads: [
                self.linear("differential", labels, width)?,
                self.linear("urgency", 3, width)?,
            ],
        })
    }
}

/// Rows that are not zero.
fn known_rows(table: &Table) -> Vec<bool> {
    let mut row = vec![0f32; table.columns()];
    let known = |at| {
        row.fill(0.0);
        table.add_row(at, 1.0, &mut row);
        row.iter().any(|x| *x != 0.0)
    };
    (0..table.rows()).map(known).collect()
}
