// Draws the page's charts when they come into view, and again when the reader turns from light to dark.
(() => {
  const themes = JSON.parse(document.getElementById('chart-themes').textContent);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const specs = new Map();
  const drawings = new Map(); // by box: the promise of its last drawing
  for (const box of document.querySelectorAll('.chart')) {
    specs.set(box, JSON.parse(box.querySelector('script').textContent));
  }
  function draw(box) {
    const before = drawings.get(box);
    drawings.set(box, (async () => {
      (await before)?.finalize(); // one after the other: two at a time would both stay in the box
      return embed(box);
    })());
  }
  async function embed(box) {
    const config = structuredClone(themes[dark.matches ? 'dark' : 'light']);
    if (box.clientWidth < 500) { // a phone: names leave room
      config.axis.labelLimit = 90;
      config.legend.labelLimit = 110;
    }
    try {
      const drawing = await vegaEmbed(box, specs.get(box), {
        ast: true, // expressions are interpreted: the page's policy forbids to evaluate text as code
        actions: {export: true, source: false, compiled: false, editor: false},
        config,
        mode: 'vega-lite',
        renderer: 'canvas' in box.dataset ? 'canvas' : 'svg',
        tooltip: {theme: dark.matches ? 'dark' : 'light'},
      });
      box.dataset.drawn = 'yes';
      return drawing;
    } catch (error) {
      box.dataset.drawn = 'failed';
      box.textContent = 'This chart could not be drawn: ' + error.message;
      console.error(error);
    }
  }
  const drawOnce = box => drawings.has(box) || draw(box);
  const inView = new IntersectionObserver(
    entries => entries.filter(entry => entry.isIntersecting).forEach(entry => drawOnce(entry.target)),
    {rootMargin: '400px'},
  );
  specs.forEach((_, box) => inView.observe(box));
  dark.addEventListener('change', () => drawings.forEach((_, box) => draw(box)));
  addEventListener('beforeprint', () => specs.forEach((_, box) => drawOnce(box)));
})();
