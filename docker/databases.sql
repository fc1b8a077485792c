-- Run once, when the volume of PostgreSQL is new. Homeostat's own database is POSTGRES_DB.
CREATE DATABASE mlflow;
CREATE DATABASE prefect;
