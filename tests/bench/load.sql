-- Call detail records without any randomness: the same content on every machine.
-- Variable: rows. Expects an empty database.
create table bench_cdr (
  id integer not null,
  date timestamp,
  duration integer,
  calling_number varchar(50),
  called_number varchar(50),
  call_code varchar(10)
);
insert into bench_cdr
select n,
       timestamp '2024-01-01' + n * interval '31 seconds',
       n * 7907 % 3600,
       to_char(n * 104723 % 10000, 'FM0000'),
       case
         when n % 100 = 7 then null
         when n % 3 = 0 then '0' || (900000000 + n * 15485857 % 99999999)
         else to_char(n * 1299689 % 10000, 'FM0000')
       end,
       substr('0179AC', 1 + (n % 6)::integer, 1)
from generate_series(1, :rows::bigint) as n;
create table bench_copy (like bench_cdr);
create table bench_calls (
  id serial primary key,
  date timestamp not null,
  duration integer not null,
  calling_number varchar(50),
  called_number varchar(50),
  call_code varchar(10)
);
vacuum (freeze, analyze) bench_cdr;
checkpoint;
