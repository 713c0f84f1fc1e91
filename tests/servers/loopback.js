// Loaded before a server that listens on every interface and cannot be told otherwise: it listens on 127.0.0.1 only.
'use strict';
const net = require('net');
const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (...given) {
  const callback = typeof given[given.length - 1] === 'function' ? [given.pop()] : [];
  const options = typeof given[0] === 'object' ? { ...given[0] } : { port: Number(given[0]) };
  return listen.call(this, { ...options, host: '127.0.0.1' }, ...callback);
};
