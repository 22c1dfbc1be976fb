//! Steps 8 to 12: one statement for both databases: what it is bound to, where it runs, and the rows it gives.
//!
//! Statements are written once, in what SQLite and PostgreSQL both understand; the few words in which they differ are
//! asked of [`Dialect`]. Placeholders are `$1`, `$2`, …; numbers are 64 bits wide, and a condition is a boolean.

use std::borrow::Cow;
use std::ops::DerefMut;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use sqlx::postgres::{PgPool, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, ColumnIndex, Database, Decode, Encode, Executor, PgConnection, Postgres, Sqlite, Type};

use crate::store::sqlite::readers::{Borrowed, Readers};

/// Begins a read through a pooler.
const BEGIN_LENT: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '8s'; \
     SET LOCAL idle_in_transaction_session_timeout = '20s'";
const BEGIN_LENT_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; \
     SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '8s'; \
     SET LOCAL idle_in_transaction_session_timeout = '20s'";
const BEGIN_LENT_WRITE: &str = "BEGIN; SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '8s'; \
     SET LOCAL idle_in_transaction_session_timeout = '20s'";
/// A server that says nothing for so long is taken for dead. Longer than a statement may take by its own clock.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Which database it is, where the two differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// Asks which version the database has.
    pub fn version(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT 'SQLite ' || sqlite_version()",
            Self::Postgres => "SELECT 'PostgreSQL ' || current_setting('server_version')",
        }
    }

    /// Reads the log's head, and keeps every other writer from it until the transaction ends.
    pub fn head_to_write(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT size, frontier, root FROM audit_head WHERE id = 1",
            Self::Postgres => "SELECT size, frontier, root FROM audit_head WHERE id = 1 FOR UPDATE",
        }
    }
}

/// How a PostgreSQL server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Way {
    /// A connection is the same one for as long as it lasts, with what was prepared and set on it.
    Direct,
    /// A pooler lends one of the server's for each transaction. Nothing is kept from one to the next, and since to prepare and
    /// to run are two steps, no statement runs outside of one.
    Pooled,
}

/// Connections for reads.
#[derive(Clone, Debug)]
pub(in crate::store) enum Pool {
    Sqlite(Readers),
    Postgres(PgPool, Way),
}

impl Pool {
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(..) => Dialect::Postgres,
        }
    }

    /// A connection for several reads, one after the other, each as of its own moment.
    pub async fn lend(&self) -> Result<Connection, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(readers) => Connection::Sqlite(Box::new(readers.lend().await?)),
            Self::Postgres(pool, Way::Direct) => {
                Connection::Postgres(Box::new(in_time(pool.acquire()).await?), Way::Direct)
            }
            Self::Postgres(pool, Way::Pooled) => lend(pool).await?,
        })
    }

    /// A connection on which a few things are read as of one moment. Dropping it ends that.
    pub async fn snapshot(&self) -> Result<Connection, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(readers) => Connection::Sqlite(Box::new(readers.snapshot().await?)),
            Self::Postgres(..) => self.search().await?,
        })
    }

    /// The same for a search, which may take long: with SQLite's few connections nothing else should wait behind it.
    pub async fn search(&self) -> Result<Connection, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(readers) => Connection::Sqlite(Box::new(readers.search().await?)),
            Self::Postgres(pool, way) => {
                let begun = pool.begin_with(match way {
                    Way::Direct => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
                    Way::Pooled => BEGIN_LENT_SNAPSHOT,
                });
                Connection::Postgres(Box::new(in_time(begun).await?), *way)
            }
        })
    }
}

/// One of the server's connections, for as long as its transaction lasts.
async fn lend(pool: &PgPool) -> Result<Connection, sqlx::Error> {
    Ok(Connection::Postgres(Box::new(in_time(pool.begin_with(BEGIN_LENT)).await?), Way::Pooled))
}

/// One connection: the writer's own, or one that a pool has lent.
pub(in crate::store) enum Connection {
    Sqlite(Box<dyn Borrowed>),
    Postgres(Box<dyn DerefMut<Target = PgConnection> + Send>, Way),
}

impl Connection {
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(..) => Dialect::Postgres,
        }
    }

    /// Begins a transaction in which nobody else can write to the log. SQLite's takes the write lock before anything is
    /// read; PostgreSQL's is taken with the log's head, see [`Dialect::head_to_write`].
    pub fn begin_write(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres(_, Way::Direct) => "BEGIN",
            Self::Postgres(_, Way::Pooled) => BEGIN_LENT_WRITE,
        }
    }
}

/// Where a statement runs.
pub(in crate::store) enum On<'c> {
    Pool(&'c Pool),
    Connection(&'c mut Connection),
}

impl<'c> From<&'c Pool> for On<'c> {
    fn from(pool: &'c Pool) -> Self {
        Self::Pool(pool)
    }
}

impl<'c> From<&'c mut Connection> for On<'c> {
    fn from(connection: &'c mut Connection) -> Self {
        Self::Connection(connection)
    }
}

/// What a placeholder stands for.
#[derive(Debug)]
pub(in crate::store) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Vec<u8>),
    Bool(bool),
}

/// A statement with what its placeholders stand for.
#[derive(Debug)]
pub(in crate::store) struct Statement {
    sql: Cow<'static, str>,
    values: Vec<Value>,
    /// Where in `sql` placeholders have still to be written, each with its number: databases spell them differently.
    gaps: Vec<(usize, usize)>,
}

/// Lengths, each a power of four and none beyond `most`, that make `rows` together: statements of many rows then come in few
/// sizes, and the database reads the text of each once.
pub(in crate::store) fn portions(rows: usize, most: usize) -> impl Iterator<Item = usize> {
    let mut left = rows;
    std::iter::from_fn(move || {
        let next =
            std::iter::successors(Some(1), |size| Some(size * 4)).take_while(|size| *size <= left.min(most)).last()?;
        left -= next;
        Some(next)
    })
}

/// Begins a statement.
pub(in crate::store) fn query(sql: &'static str) -> Statement {
    Statement { sql: Cow::Borrowed(sql), values: Vec::new(), gaps: Vec::new() }
}

impl Statement {
    /// What the next placeholder stands for.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds to the text; nothing that anybody has sent.
    pub fn push(&mut self, sql: &str) -> &mut Self {
        self.sql.to_mut().push_str(sql);
        self
    }

    /// Adds the next placeholder and what it stands for.
    pub fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        self.gaps.push((self.sql.len(), self.values.len()));
        self
    }

    /// The text as this database reads it.
    fn text(&self, dialect: Dialect) -> Cow<'static, str> {
        if self.gaps.is_empty() {
            return self.sql.clone();
        }
        // SQLite looks for a placeholder that has a name among all before it, when it reads the text and again when it is
        // bound: a thousand rows by one statement would be millions of looks. Those without a name are counted.
        let are_counted = dialect == Dialect::Sqlite && self.gaps.len() == self.values.len();
        let mut text = String::with_capacity(self.sql.len() + 5 * self.gaps.len());
        let mut from = 0;
        for (at, number) in &self.gaps {
            text.push_str(&self.sql[from..*at]);
            text.push_str(&if are_counted { "?".to_owned() } else { format!("${number}") });
            from = *at;
        }
        text.push_str(&self.sql[from..]);
        Cow::Owned(text)
    }

    #[cfg(test)]
    pub fn into_string(self) -> String {
        self.text(Dialect::Postgres).into_owned()
    }

    /// Runs it; how many rows it touched.
    pub async fn execute(self, on: impl Into<On<'_>>) -> Result<u64, sqlx::Error> {
        Ok(match on.into() {
            On::Pool(pool @ Pool::Sqlite(_)) => self.execute_alone(&mut pool.lend().await?).await?,
            On::Pool(Pool::Postgres(pool, Way::Direct)) => {
                in_time(self.postgres(Way::Direct).execute(pool)).await?.rows_affected()
            }
            On::Pool(Pool::Postgres(pool, Way::Pooled)) => self.execute_alone(&mut lend(pool).await?).await?,
            On::Connection(connection) => self.execute_alone(connection).await?,
        })
    }

    async fn execute_alone(self, connection: &mut Connection) -> Result<u64, sqlx::Error> {
        Ok(match connection {
            Connection::Sqlite(one) => {
                let done = self.sqlite().execute(&mut ***one).await;
                heard(&mut **one, done)?.rows_affected()
            }
            Connection::Postgres(one, way) => match &self.sql {
                // What begins and ends a transaction goes as one message: it cannot be prepared before it has begun.
                Cow::Borrowed(sql) if self.values.is_empty() => {
                    in_time((&mut ***one).execute(sqlx::raw_sql(*sql))).await?.rows_affected()
                }
                _ => in_time(self.postgres(*way).execute(&mut ***one)).await?.rows_affected(),
            },
        })
    }

    pub async fn fetch_all(self, on: impl Into<On<'_>>) -> Result<Vec<Row>, sqlx::Error> {
        Ok(match on.into() {
            On::Pool(pool @ Pool::Sqlite(_)) => self.fetch_all_alone(&mut pool.lend().await?).await?,
            On::Pool(Pool::Postgres(pool, Way::Direct)) => {
                rows(in_time(self.postgres(Way::Direct).fetch_all(pool)).await?, Row::Postgres)
            }
            On::Pool(Pool::Postgres(pool, Way::Pooled)) => self.fetch_all_alone(&mut lend(pool).await?).await?,
            On::Connection(connection) => self.fetch_all_alone(connection).await?,
        })
    }

    async fn fetch_all_alone(self, connection: &mut Connection) -> Result<Vec<Row>, sqlx::Error> {
        Ok(match connection {
            Connection::Sqlite(one) => {
                let found = self.sqlite().fetch_all(&mut ***one).await;
                rows(heard(&mut **one, found)?, Row::Sqlite)
            }
            Connection::Postgres(one, way) => {
                rows(in_time(self.postgres(*way).fetch_all(&mut ***one)).await?, Row::Postgres)
            }
        })
    }

    pub async fn fetch_optional(self, on: impl Into<On<'_>>) -> Result<Option<Row>, sqlx::Error> {
        Ok(match on.into() {
            On::Pool(pool @ Pool::Sqlite(_)) => self.fetch_optional_alone(&mut pool.lend().await?).await?,
            On::Pool(Pool::Postgres(pool, Way::Direct)) => {
                in_time(self.postgres(Way::Direct).fetch_optional(pool)).await?.map(Row::Postgres)
            }
            On::Pool(Pool::Postgres(pool, Way::Pooled)) => self.fetch_optional_alone(&mut lend(pool).await?).await?,
            On::Connection(connection) => self.fetch_optional_alone(connection).await?,
        })
    }

    async fn fetch_optional_alone(self, connection: &mut Connection) -> Result<Option<Row>, sqlx::Error> {
        Ok(match connection {
            Connection::Sqlite(one) => {
                let found = self.sqlite().fetch_optional(&mut ***one).await;
                heard(&mut **one, found)?.map(Row::Sqlite)
            }
            Connection::Postgres(one, way) => {
                in_time(self.postgres(*way).fetch_optional(&mut ***one)).await?.map(Row::Postgres)
            }
        })
    }

    /// The rows one after the other, for whoever may need only the first of them.
    pub fn fetch(self, connection: &mut Connection) -> BoxStream<'_, Result<Row, sqlx::Error>> {
        match connection {
            Connection::Sqlite(one) => self.sqlite().fetch(&mut ***one).map_ok(Row::Sqlite).boxed(),
            Connection::Postgres(one, way) => self.postgres(*way).fetch(&mut ***one).map_ok(Row::Postgres).boxed(),
        }
    }

    pub async fn fetch_one(self, on: impl Into<On<'_>>) -> Result<Row, sqlx::Error> {
        self.fetch_optional(on).await?.ok_or(sqlx::Error::RowNotFound)
    }

    fn sqlite(self) -> Query<'static, Sqlite, <Sqlite as Database>::Arguments> {
        bound(self.text(Dialect::Sqlite), self.values)
    }

    fn postgres(mut self, way: Way) -> Query<'static, Postgres, <Postgres as Database>::Arguments> {
        // PostgreSQL's text cannot hold a NUL, and a caller who names a tool with one must not stop the record: it is
        // kept, and looked for, as the character that stands for what cannot be shown. JSON escapes it.
        for value in &mut self.values {
            if let Value::Text(Some(text)) = value
                && text.contains('\0')
            {
                *text = text.replace('\0', "\u{fffd}");
            }
        }
        // A name given on a connection that is lent would meet the same name of somebody else.
        bound(self.text(Dialect::Postgres), self.values).persistent(way == Way::Direct)
    }
}

/// An answer of SQLite's; where it says that the connection's thread is gone, nobody is given that connection again.
pub(in crate::store) fn heard<T>(one: &mut dyn Borrowed, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
    if matches!(answer, Err(sqlx::Error::WorkerCrashed)) {
        one.lose();
    }
    answer
}

fn bound<DB: Database>(sql: Cow<'static, str>, values: Vec<Value>) -> Query<'static, DB, DB::Arguments>
where
    Option<i64>: for<'q> Encode<'q, DB> + Type<DB>,
    Option<String>: for<'q> Encode<'q, DB> + Type<DB>,
    Vec<u8>: for<'q> Encode<'q, DB> + Type<DB>,
    bool: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut query = match sql {
        Cow::Borrowed(sql) => sqlx::query(sql),
        // Made of the words of this module's neighbours; what was sent is bound.
        Cow::Owned(sql) => sqlx::query(AssertSqlSafe(sql)),
    };
    for value in values {
        query = match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
            Value::Bool(value) => query.bind(value),
        };
    }
    query
}

/// The same, unless the server is silent for too long.
async fn in_time<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(ANSWER_MAX, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

fn rows<R>(rows: Vec<R>, row: fn(R) -> Row) -> Vec<Row> {
    rows.into_iter().map(row).collect()
}

/// One row of an answer.
pub(in crate::store) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// What stands in a column, by its name or its place.
    pub fn try_get<'r, T, I>(&'r self, column: I) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
        I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        match self {
            Self::Sqlite(row) => sqlx::Row::try_get(row, column),
            Self::Postgres(row) => sqlx::Row::try_get(row, column),
        }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(Some(value.clone()))
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::Text(value.clone())
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

#[cfg(test)]
mod tests;
