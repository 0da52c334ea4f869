create trigger stop before delete on wallets begin select raise(abort, 'no; never'); end;
