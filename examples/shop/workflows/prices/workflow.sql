CREATE TABLE prices AS
SELECT range AS product, 10 + 5 * range AS price
FROM range(5);

COPY (SELECT getvariable('day') AS day, * FROM prices) TO 'prices.csv';

SELECT getvariable('day') AS day, count(*) AS products, max(price) AS dearest
FROM prices;
