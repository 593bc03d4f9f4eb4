SELECT getvariable('region') AS region, 42 AS customers;
