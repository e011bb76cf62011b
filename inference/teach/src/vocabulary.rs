//! Word pieces (Sennrich et al. 2016), learned from the phrases to learn from, spelt and misspelt.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{AddedToken, DecoderWrapper, PostProcessorWrapper, Tokenizer, TokenizerBuilder};

use crate::learn::Fail;
use crate::patients::{Teacher, World, phrases};

/// Pieces, at most.
pub(crate) const PIECES_MAX: usize = 16_384;
/// Patients whose words are read beside the phrases themselves.
const PATIENTS: usize = 12_000;

/// The tokenizer of a seed, with so many pieces at most.
///
/// # Errors
/// What the library says.
pub fn learn(seed: u64, pieces: usize) -> Result<Tokenizer, Fail> {
    let teacher = Teacher::new(World {
        spoken: 1.0,
        ..World::LEARNING
    });
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x00C0_FFEE);
    let said = (0..PATIENTS.min(pieces)).map(|_| teacher.draw(&mut rng).findings.text().to_owned());
    let mut texts: Vec<String> = said.collect();
    // Each phrase often enough to count.
    texts.extend(
        phrases::taught()
            .flat_map(|phrase| [phrase; 3])
            .map(str::to_owned),
    );
    of(texts, pieces)
}

/// The tokenizer of some texts, with so many pieces at most.
///
/// # Errors
/// What the library says.
pub fn of(texts: Vec<String>, pieces_max: usize) -> Result<Tokenizer, Fail> {
    tokenizers::parallelism::set_parallelism(false);
    let special = ["[PAD]", "[UNK]"].map(|token| AddedToken::from(token, true));
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(pieces_max)
        .min_frequency(3)
        .special_tokens(special.to_vec())
        .build();
    let model = BPE::builder().unk_token("[UNK]".into()).build()?;
    let mut tokenizer = TokenizerBuilder::<
        BPE,
        BertNormalizer,
        BertPreTokenizer,
        PostProcessorWrapper,
        DecoderWrapper,
    >::new()
    .with_model(model)
    .with_normalizer(Some(BertNormalizer::new(true, true, Some(true), true)))
    .with_pre_tokenizer(Some(BertPreTokenizer))
    .build()?;
    tokenizer.train(&mut trainer, texts.iter())?;
    let mut tokenizer: Tokenizer = tokenizer.into();
    tokenizer.set_encode_special_tokens(true);
    Ok(tokenizer)
}
