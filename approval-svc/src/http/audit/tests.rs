//! A tile has one path.

use super::*;

#[test]
fn paths_of_tiles_are_read_as_c2sp_writes_them() {
    let tile = |level, index, width| Some(Tile { level, index, width });
    for (level, path, expected) in [
        ("0", "000", tile(Some(0), 0, 256)),
        ("1", "067", tile(Some(1), 67, 256)),
        ("0", "x001/x234/067", tile(Some(0), 1_234_067, 256)),
        ("0", "x001/234.p/7", tile(Some(0), 1_234, 7)),
        ("entries", "000.p/255", tile(None, 0, 255)),
        ("7", "000", None),
        ("00", "000", None),
        ("data", "000", None),
        ("0", "0", None),
        ("0", "001/234", None),
        ("0", "x001/x234", None),
        ("0", "-01", None),
        ("0", "000.p/0", None),
        ("0", "000.p/256", None),
        ("0", "000.p/07", None),
        ("0", "x999/x999/x999/x999/x999/x999/999", None),
    ] {
        assert_eq!(Tile::parse(level, path), expected, "{level}/{path}");
    }
}
