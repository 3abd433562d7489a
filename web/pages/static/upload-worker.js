// The service worker of the upload page: it opens without a network, and while the hub is away.
//
// The hub is asked first. Only the page and its files are kept: no pictures, no lists.

const KEPT = "hub-upload", PAGE = "/upload", MORE = ["/static/upload-queue.js"];
const PATIENCE = 4000; // milliseconds until the page that was kept is shown

self.addEventListener("install", (event) => event.waitUntil(keepAll().then(() => self.skipWaiting())));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (event.request.method !== "GET" || origin !== location.origin) return;
  if (pathname === PAGE || pathname.startsWith("/static/")) {
    event.respondWith(newest(event.request, pathname === PAGE ? PAGE : event.request));
  }
});

/** Keep the page and all files that it names. */
async function keepAll() {
  const page = await fetch(PAGE);
  if (!page.ok || page.redirected) return; // nobody is logged in
  const cache = await caches.open(KEPT);
  const named = (await page.clone().text()).matchAll(/(?:src|href)="(\/static\/[^"]+)"/g);
  await cache.addAll([...new Set([...named].map((found) => found[1])), ...MORE]);
  await cache.put(PAGE, page);
}

/** The hub's answer; what was kept, if it does not come or is an error of the server. */
async function newest(request, key) {
  const cache = await caches.open(KEPT);
  const kept = await cache.match(key) ?? await cache.match(key, { ignoreSearch: true });
  const asked = fetch(request).then(async (answer) => {
    if (answer.type === "opaqueredirect") await cache.delete(PAGE); // the login has ended
    else if (answer.ok && !answer.redirected) await keep(cache, key, answer.clone());
    return answer.status >= 500 && kept ? kept : answer;
  });
  if (!kept) return asked;
  const late = new Promise((done) => setTimeout(done, PATIENCE, kept));
  return Promise.race([asked.catch(() => kept), late]);
}

/** Keep an answer in place of the same file's older version. */
async function keep(cache, key, answer) {
  await cache.delete(key, { ignoreSearch: true });
  await cache.put(key, answer);
}
