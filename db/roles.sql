-- Roles for a PostgreSQL of the user's own. `bml db apply` runs as the owner; `bml serve` needs no more than the server role.
-- Run as a superuser in the database of the ledger, then set the passwords.
create role bitmapledger_owner login;
create role bitmapledger_server login;
create schema if not exists bitmapledger authorization bitmapledger_owner;
grant usage on schema bitmapledger to bitmapledger_server;
alter default privileges for role bitmapledger_owner in schema bitmapledger
    grant select, insert, update, delete on tables to bitmapledger_server;
alter default privileges for role bitmapledger_owner in schema bitmapledger
    grant usage, select, update on sequences to bitmapledger_server;
alter default privileges for role bitmapledger_owner in schema bitmapledger
    grant execute on functions to bitmapledger_server;
