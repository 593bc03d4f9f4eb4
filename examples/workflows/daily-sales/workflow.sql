-- A parameter of the workflow is a variable here: getvariable('day') is a DATE.
CREATE TABLE sales AS
SELECT *
FROM read_csv('sales.csv', types = {'sold_at': 'TIMESTAMP', 'price': 'DECIMAL(10, 2)'})
WHERE getvariable('region') = 'all' OR region = getvariable('region');

SELECT
    getvariable('day') AS day,
    count(*) AS sales,
    sum(quantity) AS units,
    sum(quantity * price) AS revenue,
    (
        SELECT sum(quantity * price)
        FROM sales
        WHERE sold_at::DATE = getvariable('day') - 1
    ) AS revenue_the_day_before
FROM sales
WHERE sold_at::DATE = getvariable('day');

CREATE TABLE best AS
SELECT product, sum(quantity) AS units, sum(quantity * price) AS revenue
FROM sales
WHERE sold_at::DATE = getvariable('day')
GROUP BY product
ORDER BY revenue DESC, product
LIMIT getvariable('top');

SELECT * FROM best;

COPY best TO 'best.parquet' (FORMAT parquet);
