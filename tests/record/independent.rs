//! Other people's implementations read the log over HTTP and agree: C2SP signed notes and tiles, RFC 6962 proofs.

use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use serde_json::Value;
use sha2::Sha256;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint, Hash, Tile, TileHashReader, TileReader, prove_record, record_hash};

use super::desk::Desk;

/// As many entries as fill two tiles and begin a third.
const ENTRIES: u64 = 700;

/// The verifier key of a log, as the C2SP tools take it: name, hash of the key, key.
fn verifier_key(name: &str, service_key: &str) -> String {
    let hex = service_key.strip_prefix("ed25519:").expect("a service key");
    let key: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).expect("hex")).collect();
    let key = [&[1][..], &key].concat();
    format!("{name}+{:08x}+{}", signed_note::key_id(name, &key), STANDARD.encode(&key))
}

/// The texts of all entries, in order, as the tiles of entries hold them.
async fn bodies(desk: &Desk, size: u64) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut bodies = Vec::new();
    for index in 0..size.div_ceil(256) {
        let width = (size - index * 256).min(256);
        let partial = if width == 256 { String::new() } else { format!(".p/{width}") };
        let tile = desk.bytes(&format!("/v1/log/tile/entries/{index:03}{partial}")).await?;
        let mut rest = &tile[..];
        while let Some((length, behind)) = rest.split_first_chunk::<2>() {
            let (body, behind) = behind.split_at(usize::from(u16::from_be_bytes(*length)));
            bodies.push(body.to_vec());
            rest = behind;
        }
    }
    Ok(bodies)
}

/// Tiles that were fetched before, for a reader that cannot wait.
struct Fetched {
    tiles: Mutex<Vec<(String, Vec<u8>)>>,
}

impl TileReader for Fetched {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let fetched = self.tiles.lock().expect("the tiles");
        tiles
            .iter()
            .map(|tile| {
                let path = tile.path();
                let found = fetched.iter().find(|(one, _)| *one == path);
                found.map(|(_, bytes)| bytes.clone()).ok_or(tlog_tiles::Error::InvalidInput(path))
            })
            .collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

#[tokio::test]
async fn signed_notes_tiles_and_proofs_are_what_other_implementations_expect() -> anyhow::Result<()> {
    let desk = Desk::open().await?;
    desk.append("edge/boot", 0, 300).await?;
    let early = Note::from_bytes(desk.checkpoint().await?.as_bytes())?;
    let early = Checkpoint::from_bytes(early.text()).expect("a checkpoint");
    desk.append("edge/boot", 300, ENTRIES - 300).await?;

    // The note, by `signed_note` and `tlog_tiles`.
    let note = Note::from_bytes(desk.checkpoint().await?.as_bytes())?;
    let checkpoint = Checkpoint::from_bytes(note.text()).expect("a checkpoint");
    let verifier = StandardVerifier::new(&verifier_key(checkpoint.origin(), &desk.service.service_key()?))?;
    let (verified, others) = note.verify(&VerifierList::new(vec![Box::new(verifier)]))?;
    assert_eq!((verified.len(), others.len()), (1, 0));
    let size = checkpoint.size();
    assert!(size >= ENTRIES);

    // The tree over the entries as their tiles hold them, by `ct_merkle`.
    let bodies = bodies(&desk, size).await?;
    assert_eq!(bodies.len(), usize::try_from(size)?);
    let mut tree: MemoryBackedTree<Sha256, Vec<u8>> = MemoryBackedTree::new();
    for body in &bodies {
        tree.push(body.clone());
    }
    assert_eq!(tree.root().as_bytes().as_slice(), checkpoint.hash().0);

    // Every hash that `tlog_tiles` asks for to prove an entry comes out of our tiles, and its proof is ours.
    let fetched = Fetched { tiles: Mutex::new(Vec::new()) };
    for tile in Tile::new_tiles(8, 0, size) {
        let path = tile.path();
        let ours = path.strip_prefix("tile/8/").expect("tiles of height 8");
        let bytes = desk.bytes(&format!("/v1/log/tile/{ours}")).await?;
        fetched.tiles.lock().expect("the tiles").push((path, bytes));
    }
    let reader = TileHashReader::new(size, *checkpoint.hash(), &fetched);
    let root = RootHash::<Sha256>::new(checkpoint.hash().0.into(), size);
    for index in [0, 1, 255, 256, 511, 512, size - 1] {
        let theirs = prove_record(size, index, &reader)?;
        let body = &bodies[usize::try_from(index)?];
        tlog_tiles::check_record(&theirs, size, *checkpoint.hash(), index, record_hash(body))?;
        let receipt = String::from_utf8(desk.bytes(&format!("/v1/audit/{index}/proof")).await?)?;
        let (head, _) = receipt.split_once("\n\n").expect("a proof");
        let ours: Vec<Hash> = head.lines().skip(3).map(Hash::parse_hash).collect::<Result<_, _>>()?;
        assert!(ours == theirs, "the proof of entry {index}");
        let digests: Vec<_> = ours.iter().map(|hash| hash.0.into()).collect();
        root.verify_inclusion(body, index, &InclusionProof::from_digests(digests.iter()))?;
    }

    // The log of the first checkpoint is the beginning of this one, by `ct_merkle` and `tlog_tiles`.
    let old = early.size();
    let proof: Value = desk.auditor.get(&format!("/v1/log/consistency?old={old}&new={size}")).await?;
    let proof: Vec<[u8; 32]> = proof
        .as_array()
        .expect("hashes")
        .iter()
        .map(|hash| {
            let hex = hash.as_str().and_then(|hash| hash.strip_prefix("sha256:")).expect("a hash");
            std::array::from_fn(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).expect("hex"))
        })
        .collect();
    let digests: Vec<_> = proof.iter().map(|hash| (*hash).into()).collect();
    let early_root = RootHash::<Sha256>::new(early.hash().0.into(), old);
    root.verify_consistency(&early_root, &ConsistencyProof::from_digests(digests.iter()))?;
    let hashes: Vec<Hash> = proof.iter().map(|hash| Hash(*hash)).collect();
    tlog_tiles::check_tree(&hashes, size, *checkpoint.hash(), old, *early.hash())?;
    Ok(())
}
