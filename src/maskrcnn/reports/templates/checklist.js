// A list to work through: what is done is remembered by the browser, by the findings' own keys.
const items = [...document.querySelectorAll('.finding')];
const hide = document.querySelector('#hide');
const NAME = 'maskrcnn-check ';

const memory = {
  has(key) { try { return localStorage.getItem(NAME + key) === '1'; } catch { return false; } },
  set(key, done) { try { done ? localStorage.setItem(NAME + key, '1') : localStorage.removeItem(NAME + key); } catch { /* not kept */ } },
};

let current = -1;
const box = item => item.querySelector('input');
const isShown = item => item.offsetParent !== null;

function update() {
  for (const item of items) {
    item.classList.toggle('done', box(item).checked);
    item.classList.toggle('hidden', Boolean(hide?.checked) && box(item).checked && !item.classList.contains('current'));
  }
  const done = items.filter(item => box(item).checked).length;
  const progress = document.querySelector('#progress');
  if (progress) progress.textContent = `${done} of ${items.length} done`;
}

function go(step) {
  let next = current + step;
  while (next >= 0 && next < items.length && !isShown(items[next])) next += step;
  if (next < 0 || next >= items.length) return;
  items[current]?.classList.remove('current');
  current = next;
  items[current].classList.add('current');
  box(items[current]).focus({ preventScroll: true });
  items[current].scrollIntoView({ block: 'nearest' });
  update();
}

for (const [place, item] of items.entries()) {
  box(item).checked = memory.has(item.dataset.key);
  box(item).addEventListener('change', () => { memory.set(item.dataset.key, box(item).checked); update(); });
  item.addEventListener('focusin', () => {
    items[current]?.classList.remove('current');
    current = place;
    item.classList.add('current');
  });
}

for (const button of document.querySelectorAll('.kinds button')) {
  button.addEventListener('click', () => {
    const shown = button.getAttribute('aria-pressed') !== 'true';
    button.setAttribute('aria-pressed', String(shown));
    document.querySelector(`.kind[data-kind="${button.dataset.kind}"]`).classList.toggle('hidden', !shown);
  });
}

hide?.addEventListener('change', update);

document.querySelector('#copy')?.addEventListener('click', async event => {
  const left = items.filter(item => !box(item).checked && !item.closest('.kind.hidden')).map(item => item.dataset.text);
  try {
    await navigator.clipboard.writeText(left.join('\n') + '\n');
    event.target.textContent = `Copied ${left.length} lines`;
  } catch {
    event.target.textContent = 'The browser does not let this page copy';
  }
  setTimeout(() => { event.target.textContent = 'Copy what is left'; }, 2500);
});

document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches('input:not([type=checkbox]), select, textarea')) return;
  if (event.key === 'j') go(1);
  else if (event.key === 'k') go(-1);
  else if (event.key === 'x' && items[current]) box(items[current]).click();
  else if (event.key === 'h') hide?.click();
});

update();
