// Chooses which images and which objects are shown: by class, size, fault and name.
const cards = [...document.querySelectorAll('.shown')];
const name = document.querySelector('#name');
const outlines = document.querySelector('#outlines');
const pressed = kind => new Set(
  [...document.querySelectorAll(`button[data-${kind}][aria-pressed="true"]`)].map(button => button.dataset[kind]));

function update() {
  const classes = pressed('class'), sizes = pressed('size'), faults = pressed('fault');
  const asked = (name?.value ?? '').trim().toLowerCase();
  let images = 0, objects = 0;
  for (const card of cards) {
    let matching = 0;
    for (const path of card.querySelectorAll('path')) {
      const fits = (!classes.size || classes.has(path.dataset.class)) && (!sizes.size || sizes.has(path.dataset.size));
      path.classList.toggle('out', !fits);
      matching += fits;
    }
    const shown = (matching || !(classes.size || sizes.size)) && card.dataset.name.includes(asked)
      && (!faults.size || card.dataset.faults.split('\n').some(kind => faults.has(kind)));
    card.classList.toggle('hidden', !shown);
    if (shown) { images += 1; objects += matching; }
  }
  const progress = document.querySelector('#progress');
  const counted = (number, what) => `${number} ${what}${number === 1 ? '' : 's'}`;
  if (progress) progress.textContent = `${counted(images, 'image')}, ${counted(objects, 'object')}`;
}

for (const button of document.querySelectorAll('.choice button')) {
  button.addEventListener('click', () => {
    button.setAttribute('aria-pressed', String(button.getAttribute('aria-pressed') !== 'true'));
    update();
  });
}
name?.addEventListener('input', update);
outlines?.addEventListener('change', () => document.body.classList.toggle('bare', !outlines.checked));

for (const card of cards) {
  card.querySelector('.layers').addEventListener('click', () => card.classList.toggle('large'));
}

function go(step) {
  const visible = cards.filter(card => !card.classList.contains('hidden'));
  const now = visible.indexOf(document.activeElement?.closest('.shown'));
  const next = visible[now < 0 ? (step > 0 ? 0 : visible.length - 1) : now + step];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: 'nearest' });
}

document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches('input[type=search]')) return;
  if (event.key === 'j') go(1);
  else if (event.key === 'k') go(-1);
  else if (event.key === 'o') outlines?.click();
  else if (event.key === 'Enter' && event.target.matches('.shown')) event.target.classList.toggle('large');
});

update();
