-- What PostgreSQL needs is not what SQLite needs: here the indexes stay as they are.
SELECT 1;
