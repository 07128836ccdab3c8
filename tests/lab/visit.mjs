// The person of browse.mjs without a browser: walks the provider's forms by plain HTTP in a tenth of the time.
// For tests whose subject lies behind the sign-in.
//
//   node visit.mjs [--user=NAME] [--password=WORD] [--refuse=now] [--code=CODE] [--result=FILE] URL

import { renameSync, writeFileSync } from 'node:fs';

const given = Object.fromEntries(process.argv.slice(2, -1).map((argument) => {
  const [, name, value] = /^--([a-z]+)=(.*)$/s.exec(argument) ?? [];
  if (!name) throw new Error(`not an option: ${argument}`);
  return [name, value];
}));
const address = process.argv.at(-1);
const REFUSAL = /abort|cancel|refuse|reject|deny|decline/i;
const MOST_STEPS = 24;

const cookies = new Map(); // "host name" -> value; the lab's hosts differ by port
const unescape = (text) => text
  .replace(/&quot;/g, '"').replace(/&#0?39;/g, "'").replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&amp;/g, '&');
const attribute = (tag, name) => {
  const found = new RegExp(`\\b${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s>]+))`, 'i').exec(tag);
  return found ? unescape(found[1] ?? found[2] ?? found[3]) : null;
};

async function ask(url, options = {}) {
  const { host } = new URL(url);
  const jar = [...cookies].filter(([key]) => key.startsWith(`${host} `)).map(([key, value]) => `${key.split(' ')[1]}=${value}`);
  const response = await fetch(url, { redirect: 'manual', ...options, headers: { ...options.headers, cookie: jar.join('; ') } });
  for (const line of response.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    if (value) cookies.set(`${host} ${name}`, value);
    else cookies.delete(`${host} ${name}`);
  }
  return response;
}

let refused = false;

// What to ask for next, or nothing where the walk ends.
function next(html, url) {
  if (refused) return null;
  if (given.refuse) {
    const link = [...html.matchAll(/<a\b[^>]*>([^<]*)/gi)].find(([, text]) => REFUSAL.test(text));
    if (link) {
      refused = true;
      return [new URL(attribute(link[0], 'href'), url).href];
    }
  }
  const form = /<form\b[^>]*>([\s\S]*?)<\/form>/i.exec(html);
  if (!form) return null;
  const fields = new URLSearchParams();
  for (const [tag] of form[1].matchAll(/<input\b[^>]*>/gi)) {
    const name = attribute(tag, 'name');
    const type = (attribute(tag, 'type') ?? 'text').toLowerCase();
    if (!name || type === 'submit') continue;
    if (type === 'hidden') fields.append(name, attribute(tag, 'value') ?? '');
    else if (/code/i.test(name)) fields.append(name, given.code ?? attribute(tag, 'value') ?? '');
    else if (type === 'password') fields.append(name, given.password ?? 'not-checked-here');
    else if (['text', 'email'].includes(type)) fields.append(name, given.user ?? 'alice');
  }
  const buttons = [...html.matchAll(/<(?:button|input)\b[^>]*>[^<]*/gi)].map(([tag]) => tag)
    .filter((tag) => attribute(tag, 'name') && (tag.startsWith('<button') || attribute(tag, 'type') === 'submit'));
  const button = buttons.find((tag) => REFUSAL.test(tag) === Boolean(given.refuse));
  refused = Boolean(given.refuse && button && REFUSAL.test(button));
  if (button) fields.append(attribute(button, 'name'), attribute(button, 'value') ?? '');
  const action = new URL(attribute(form[0], 'action') ?? url, url).href;
  if ((attribute(form[0], 'method') ?? 'get').toLowerCase() === 'get') return [`${action.split('?')[0]}?${fields}`];
  return [action, { method: 'POST', body: fields }];
}

const result = { opened: address, url: null, title: null, text: null, status: null, error: null };
try {
  let request = [address];
  for (let step = 0; request; step += 1) {
    if (step === MOST_STEPS) throw new Error(`still not done after ${MOST_STEPS} steps`);
    const response = await ask(...request);
    const url = request[0];
    const html = await response.text();
    const location = response.headers.get('location');
    Object.assign(result, {
      url,
      status: response.status,
      title: /<title>([^<]*)/i.exec(html)?.[1] ?? '',
      text: unescape(html.replace(/<(style|script|title)[\s\S]*?<\/\1>/gi, ' ').replace(/<[^>]+>/g, ' ')).replace(/\s+/g, ' ').trim(),
    });
    request = location ? [new URL(location, url).href] : next(html, url);
  }
} catch (error) {
  result.error = `${error.message}${error.cause ? `: ${error.cause.message}` : ''}`;
  process.stderr.write(`visit: ${result.error}\n`);
}
if (given.result) {
  writeFileSync(`${given.result}.part`, JSON.stringify(result, null, 1));
  renameSync(`${given.result}.part`, given.result);
}
process.exit(result.error ? 1 : 0);
