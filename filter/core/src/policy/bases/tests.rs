//! Names that are remembered and names that are made are the same.

use super::*;

fn parts(from: usize, count: usize) -> Vec<Digest> {
    (from..from + count).map(|number| Digest::of(&number.to_le_bytes())).collect()
}

#[test]
fn a_name_depends_on_its_parts_and_on_nothing_else() {
    let bases = Bases::default();
    let first = bases.name(parts(0, 3));
    let mut shuffled = parts(0, 3);
    shuffled.reverse();
    shuffled.push(shuffled[0]);
    assert_eq!(bases.name(shuffled), first);
    assert_eq!(Bases::default().name(parts(0, 3)), first);
    assert_ne!(bases.name(parts(0, 2)), first);
    assert_ne!(bases.name(parts(1, 3)), first);
}

#[test]
fn however_many_were_named_before_a_name_stays_the_same_and_few_are_kept() {
    let bases = Bases::default();
    for round in 0..2 {
        for from in 0..3 * KNOWN_MAX {
            assert_eq!(bases.name(parts(from, 2)), Bases::default().name(parts(from, 2)), "{round} {from}");
        }
    }
    assert_eq!(bases.name(parts(0, PARTS_MAX + 1)), Bases::default().name(parts(0, PARTS_MAX + 1)));
    let known = bases.known.lock().expect("nobody else is here");
    assert_eq!(known.names.len(), KNOWN_MAX);
    assert!(known.names.iter().all(|(of, _)| of.len() <= PARTS_MAX));
}

#[test]
fn who_finds_somebody_else_at_it_names_it_all_the_same() {
    let bases = Bases::default();
    let busy = bases.known.lock().expect("nobody else is here");
    assert_eq!(bases.name(parts(0, 3)), Bases::default().name(parts(0, 3)));
    drop(busy);
}
