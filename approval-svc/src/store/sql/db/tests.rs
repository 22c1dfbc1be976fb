//! Statements of many rows are spelled as each database reads them fast, and come in few sizes.

use super::*;

fn many() -> Statement {
    let mut insert = query("INSERT INTO t (a, b) VALUES ");
    insert
        .push("(")
        .push_bind(1)
        .push(", ")
        .push_bind("x")
        .push("), (")
        .push_bind(2)
        .push(", ")
        .push_bind("y")
        .push(")");
    insert
}

#[test]
fn sqlite_counts_placeholders_that_postgres_names() {
    assert_eq!(many().text(Dialect::Sqlite), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)");
    assert_eq!(many().text(Dialect::Postgres), "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4)");
}

#[test]
fn placeholders_behind_named_ones_are_named() {
    let mut select = query("SELECT $2, $1").bind(1).bind(2);
    select.push(" WHERE a = ").push_bind(3).push(" AND b = ").push_bind(4);
    for dialect in [Dialect::Sqlite, Dialect::Postgres] {
        assert_eq!(select.text(dialect), "SELECT $2, $1 WHERE a = $3 AND b = $4");
    }
}

#[test]
fn rows_fall_into_few_sizes_of_statements() {
    let sizes = |rows, most| portions(rows, most).collect::<Vec<_>>();
    assert!(sizes(0, 64).is_empty());
    assert_eq!(sizes(150, 64), [64, 64, 16, 4, 1, 1]);
    assert_eq!(sizes(15, 16), [4, 4, 4, 1, 1, 1]);
    assert!((0..600).all(|rows| sizes(rows, 256).iter().sum::<usize>() == rows));
}
