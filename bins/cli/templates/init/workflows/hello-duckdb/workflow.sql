-- The parameter `rows` is the variable getvariable('rows').
SELECT i AS number, sum(i) OVER (ORDER BY i) AS sum_so_far
FROM range(1, getvariable('rows') + 1) AS numbers(i);
