// The person of visit.mjs at Glewlwyd, whose pages are a program in the browser: what that program asks of the server
// is asked here by hand. For the page of a sign-in and for the page of a device code.
//
//   node glewlwyd.mjs [--user=NAME] [--password=PASSWORD] [--result=FILE] URL

import { renameSync, writeFileSync } from 'node:fs';

const given = Object.fromEntries(process.argv.slice(2, -1).map((argument) => {
  const [, name, value] = /^--([a-z]+)=(.*)$/s.exec(argument) ?? [];
  if (!name) throw new Error(`not an option: ${argument}`);
  return [name, value];
}));
const address = process.argv.at(-1);
const { origin } = new URL(address);
const MOST_STEPS = 8;

const cookies = new Map();

async function ask(url, options = {}) {
  const own = new URL(url).origin === origin;
  const cookie = own ? [...cookies].map((pair) => pair.join('=')).join('; ') : '';
  const response = await fetch(url, { redirect: 'manual', ...options, headers: { ...options.headers, cookie } });
  for (const line of response.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    cookies.set(name, value);
  }
  return response;
}

async function tell(method, path, body) {
  const headers = { 'content-type': 'application/json' };
  const response = await ask(`${origin}/api/auth/${path}`, { method, headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`);
}

const result = { opened: address, url: address, title: null, text: null, status: null, error: null };
try {
  let response = await ask(address);
  let at = response.headers.get('location');
  if (at) {
    const page = new URL(at, address).searchParams;
    const username = given.user ?? 'alice';
    await tell('POST', '', { username, password: given.password ?? 'not-checked-here' });
    await tell('PUT', `grant/${page.get('client_id')}`, { scope: page.get('scope') });
    at = `${page.get('callback_url')}&g_continue`;
  }
  for (let step = 0; at; step += 1) {
    if (step === MOST_STEPS) throw new Error(`still not done after ${MOST_STEPS} steps`);
    response = await ask(at);
    result.url = at;
    const next = response.headers.get('location');
    at = next && new URL(next, at).href;
  }
  const html = await response.text();
  result.status = response.status;
  result.title = /<title>([^<]*)/i.exec(html)?.[1] ?? '';
  result.text = html.replace(/<(style|script|title)[\s\S]*?<\/\1>/gi, ' ').replace(/<[^>]+>/g, ' ').replace(/\s+/g, ' ').trim();
} catch (error) {
  result.error = `${error.message}${error.cause ? `: ${error.cause.message}` : ''}`;
  process.stderr.write(`glewlwyd: ${result.error}\n`);
}
if (given.result) {
  writeFileSync(`${given.result}.part`, JSON.stringify(result, null, 1));
  renameSync(`${given.result}.part`, given.result);
}
process.exit(result.error ? 1 : 0);
