//! Machines on EC2, code on S3, prices.
